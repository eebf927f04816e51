"""Several web processes of one server: replaced when one is killed, gone when the server is."""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from app.counting import Counts, Requests
from app.db import Database
from app.inference import Computed
from app.jobs.loop import Loop
from app.main import create_app, furnish
from app.models import ApiToken
from app.place import ROOT
from app.processes import NOT_STARTED, Bell, Board, Place, WebProcesses, by_default
from app.settings import Settings
from serving import environment

pytestmark = [pytest.mark.timeout(280), pytest.mark.long]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def token(tmp_path: Path) -> str:
    database = Database(f"sqlite:///{tmp_path}/h.sqlite3")
    database.migrate()
    with database.transaction() as session:
        secret = ApiToken.add(session, "prometheus", "machine")
    database.engine.dispose()
    return secret


@pytest.fixture
def server(tmp_path: Path, token: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = free_port()
    told = environment(f"sqlite:///{tmp_path}/h.sqlite3", tmp_path)
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "serve", "--port", str(port), "--workers", "2"],
            cwd=ROOT, env=told, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        wait_until(lambda: is_ready(port))
        yield process, port
    finally:
        process.terminate()
        process.wait(60)


def is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health/ready", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def wait_until(true: Callable[[], bool]) -> None:
    for _ in range(1200):
        if true():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come to that in two minutes")


def of_session(session: int) -> set[int]:
    """Processes of a session that live, the first one left out."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, belongs = stat.read_text().rpartition(") ")[2].split()[:4]
        except OSError:
            continue
        if int(belongs) == session and state != "Z":
            found.add(int(stat.parent.name))
    return found - {session}


def listening(session: int, port: int) -> set[int]:
    """Those of them that hold the socket on which the server listens."""
    wanted = f"{port:04X}"
    inodes = {
        f"socket:[{words[9]}]"
        for words in map(str.split, Path("/proc/net/tcp").read_text().splitlines()[1:])
        if words[1].endswith(f":{wanted}") and words[3] == "0A"
    }

    def holds(pid: int) -> bool:
        try:
            return any(str(one.readlink()) in inodes for one in Path(f"/proc/{pid}/fd").iterdir())
        except OSError:
            return False

    return {pid for pid in of_session(session) if holds(pid)}


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
def test_a_killed_web_process_is_replaced_and_all_are_gone_once_the_server_is(server, token):
    process, port = server

    def lives() -> int:
        """How often it was asked whether it lives, as whichever process tells."""
        told = {"Authorization": f"Bearer {token}"}
        text = httpx.get(f"http://127.0.0.1:{port}/metrics", headers=told, timeout=20).text
        of_live = 'hepatica_http_requests_total{method="GET",route="/health/live",status="200"} '
        return sum(int(float(one.removeprefix(of_live)))
                   for one in text.splitlines() if one.startswith(of_live))  # fmt: skip

    for _ in range(12):  # each over a connection of its own, so that both are asked
        assert httpx.get(f"http://127.0.0.1:{port}/health/live", timeout=20).status_code == 200
    # whoever is asked counts its own at once, and what the other has told: both must have told
    wait_until(lambda: all(lives() == 12 for _ in range(30)))
    before = listening(process.pid, port)
    assert len(before) == 2
    for killed in before:
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda gone=killed: len(listening(process.pid, port) - {gone}) == 2)
        assert is_ready(port)
    assert lives() == 12  # nothing that was told is forgotten
    os.kill(process.pid, signal.SIGKILL)
    process.wait(20)
    wait_until(lambda: not of_session(process.pid))
    with socket.socket() as next_one:
        next_one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        next_one.bind(("127.0.0.1", port))
        next_one.listen()


def test_a_process_that_ends_is_begun_again_with_words_and_one_that_cannot_begin_ends_all(
    tmp_path, caplog
):
    def serve(place: Place) -> int:
        place.tell(is_up=True)
        mark = tmp_path / str(place.number)
        if not mark.exists():
            mark.touch()
            return 7
        os.kill(os.getppid(), signal.SIGTERM)
        return 0

    with caplog.at_level(logging.ERROR, "hepatica"):
        assert WebProcesses(2, serve).run() == 0
    assert "ended with 7. Another one is begun in 0.5 s." in caplog.text
    assert {one.name for one in tmp_path.iterdir()} == {"0", "1"}
    assert WebProcesses(2, lambda place: NOT_STARTED * place.number).run() == NOT_STARTED


def test_there_are_as_many_as_cores_may_be_used_by_affinity_and_control_groups(tmp_path):
    allowed = min(4, len(os.sched_getaffinity(0)))
    own = tmp_path / "own"
    assert by_default(own, tmp_path) == allowed  # no control groups
    own.write_text("0::/system.slice/hepatica.service\n")
    (group := tmp_path / "system.slice" / "hepatica.service").mkdir(parents=True)
    (group / "cpu.max").write_text("max 100000\n")
    assert by_default(own, tmp_path) == allowed
    (group.parent / "cpu.max").write_text("50000 100000\n")  # half a core of the whole slice
    assert by_default(own, tmp_path) == 1


def test_what_processes_counted_is_added_up_and_what_is_half_written_is_left_out():
    board = Board(3)
    places = [Place(number, board) for number in range(3)]
    for place in places[1:]:
        requests, computed = Requests(), Computed()
        for _ in range(place.number):
            requests.note("GET", "/cases", 200, 0.3)
        computed.note(10, 1.5)
        requests.running = 1
        counts = Counts(requests, computed)
        place.tell(counts.own().to_bytes())
    first = Counts(Requests(), Computed(), places[0].told(), places[0].told_by_others).all()
    assert first.answered == {("GET", "/cases", 200): 3}
    assert (first.rois, first.seconds, first.running) == (20, 3.0, 2)
    took = first.took["GET", "/cases"]
    assert sum(took.counts) == 3 and took.sum_s == pytest.approx(0.9)
    # another process takes the place of one that was killed: it counts on, and answers nobody yet
    again = Counts(Requests(), Computed(), places[2].told()).all()
    assert again.answered == {("GET", "/cases", 200): 2} and again.running == 0
    damaged = board.read(1)[:-1] + b"?"
    begin = bytes(board._memory).index(board.read(1))
    board._memory[begin : begin + len(damaged)] = damaged
    assert places[0].told_by_others() == [board.read(2)]


def test_what_was_queued_in_another_process_is_heard_where_the_loops_are(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path}/h.sqlite3"
    database = Database(url)
    database.migrate()
    database.engine.dispose()
    settings = Settings(database_url=url, installation_key="k" * 32, clerk=False)
    app, bell = create_app(settings), Bell()
    furnish(app, settings, Place(1, Board(2), bell))
    heard = []
    monkeypatch.setattr(Loop, "ring", lambda self: heard.append(self.kind))
    with TestClient(app):
        for loop in (app.state.clerk, app.state.fetcher, app.state.messenger):
            loop.ring()
    assert heard == []
    furnish(app, settings, Place(0, Board(2), bell))
    with TestClient(app):
        wait_until(lambda: "clerk" in heard and len(set(heard)) > 2)
    assert not select.select([bell.file], [], [], 0)[0]  # once for all three
