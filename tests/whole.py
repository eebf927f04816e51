"""What a whole run of the tests has to have: each route called, and a test in each file of tests.

A route counts as called where a test got an answer of it (below 400, and not the way to the
sign-in) over HTTP in its own process. ``--routes`` prints each with the tests that called it.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent
_EVERY_DOOR = "test_every_door.py"
"""It calls all there are, with what is refused; what it calls has no test by that."""

REFUSES = "POST app.routes.sketches.store_nowhere"
"""Is there to refuse, and does nothing else."""

EVERY_CHANGE = "not chaos and not slow"
"""The marks of the run that every change must pass (``make check``)."""

UNASKED = f"{EVERY_CHANGE} and not long"
"""The marks of a run that asks for none (pyproject.toml)."""

Called = dict[str, set[str]]
"""Route → tests."""


def routes() -> dict[str, str]:
    """Every route of the application by the name of its function, as "METHOD /path"."""
    from fastapi.routing import APIRoute, _iter_routes_with_context

    from app.main import create_app
    from app.settings import Settings

    app = create_app(Settings(installation_key="k" * 32, database_url="sqlite://"))
    return {
        _name(method, route): f"{method} {(context or route).path}"
        for route, context in _iter_routes_with_context(app.routes)
        if isinstance(route, APIRoute)
        for method in sorted((context or route).methods - {"HEAD"})
    }


def missing(called: Called) -> list[str]:
    """What no test got an answer of."""
    return sorted(
        words for name, words in routes().items() if name != REFUSES and not called.get(name)
    )


def empty(folder: Path = TESTS) -> list[str]:
    """Files of tests without a test, as a merge may leave them."""
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("test_*.py")
        if "def test_" not in path.read_text("utf-8")
    )


def _name(method: str, route: Any) -> str:
    return f"{method} {route.endpoint.__module__}.{route.endpoint.__qualname__}"


class Whole:
    """Gathers in every process; told at the end of a run of everything, which it can fail."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._called: Called = defaultdict(set)
        self._faults: list[str] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Iterator[None]:
        """Every application of this process tells what it answered."""
        from fastapi import FastAPI

        answer = FastAPI.__call__

        async def told(app: Any, scope: Any, receive: Any, send: Any) -> None:
            async def sent(message: Any) -> None:
                if message["type"] == "http.response.start":
                    self._answered(scope, message)
                await send(message)

            await answer(app, scope, receive, sent if scope["type"] == "http" else send)

        patch = pytest.MonkeyPatch()
        patch.setattr(FastAPI, "__call__", told)
        try:
            return (yield)
        finally:
            patch.undo()

    def _answered(self, scope: Any, start: Any) -> None:
        test = os.environ.get("PYTEST_CURRENT_TEST", "").partition(" ")[0]
        route = scope.get("route")
        to = dict(start["headers"]).get(b"location", b"")
        away = to.startswith(b"/sessions/new") and "sessions" not in scope["path"]
        if route is None or start["status"] >= 400 or away or _EVERY_DOOR in test:
            return
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        self._called[_name(method, route)].add(test.partition("[")[0])

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A worker has ended: what it gathered."""
        told = getattr(node, "workeroutput", {})
        for name, tests in told.get("called", {}).items():
            self._called[name] |= set(tests)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """A worker hands on; the run itself fails where it was whole and something is missing."""
        output = getattr(self._config, "workeroutput", None)
        if output is not None:
            output["called"] = {name: sorted(tests) for name, tests in self._called.items()}
            return
        if not self._is_whole() or exitstatus not in (pytest.ExitCode.OK, 1):
            return
        self._faults = [
            *(f"no test gets an answer of {one}" for one in missing(self._called)),
            *(f"there is no test in tests/{one}" for one in empty()),
        ]
        if self._faults:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _is_whole(self) -> bool:
        chosen = self._config.option
        marked = chosen.markexpr not in ("", EVERY_CHANGE)
        narrowed = chosen.keyword or marked or getattr(chosen, "lf", False) or chosen.maxfail
        few = self._config.args_source is pytest.Config.ArgsSource.ARGS
        return not (narrowed or few or chosen.collectonly or self._config.getoption("ignore"))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """What is missing; and, where it is asked for, who calls what."""
        if self._config.getoption("routes"):
            terminalreporter.section("routes and the tests that call them")
            for name, words in routes().items():
                terminalreporter.line(words)
                for test in sorted(self._called.get(name, ())) or ["(none)"]:
                    terminalreporter.line(f"    {test}")
        if self._faults:
            terminalreporter.section("what a whole run has to have", red=True)
            for fault in self._faults:
                terminalreporter.line(fault)
