"""The tour of the demo: four steps, kept in a cookie, so that it can be left and found again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from fastapi import Request
from starlette.responses import Response

from app import cookies

_KEPT_S = 30 * 86400
_LEFT = ".left"


class Step(StrEnum):
    """What is done in a step, in the order of the work."""

    UPLOAD = "upload"
    MARK = "mark"
    REVIEW = "review"
    READ = "read"


STEPS = tuple(Step)


@dataclass(frozen=True)
class Tour:
    """Where somebody is in the tour. ``left``: no page shows it until it is taken up again."""

    step: Step = Step.UPLOAD
    left: bool = False

    @property
    def number(self) -> int:
        """From 1."""
        return STEPS.index(self.step) + 1

    @property
    def before(self) -> Step | None:
        """The step before this one; None at the first."""
        return STEPS[self.number - 2] if self.number > 1 else None

    @property
    def after(self) -> Step | None:
        """The step after this one; None at the last."""
        return STEPS[self.number] if self.number < len(STEPS) else None

    @staticmethod
    def of(request: Request) -> Tour | None:
        """That of this browser; None where it was not begun, is over, or there is no demo."""
        step, _, left = cookies.read(request, cookies.TOUR).partition(".")
        if step not in set(Step) or not getattr(request.app.state, "demo", False):
            return None
        return Tour(Step(step), bool(left))

    def keep(self, response: Response, request: Request) -> None:
        """Let the browser remember it for a month."""
        value = self.step + (_LEFT if self.left else "")
        cookies.put(response, request.scope, cookies.TOUR, value, _KEPT_S)

    def leaving(self) -> Tour:
        """The same place, not shown any more."""
        return replace(self, left=True)
