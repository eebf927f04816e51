"""Plans of studies of pairs: how many pairs and readers one needs."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.auth import Researcher
from app.errors import Unreadable
from app.models.reader_studies.rehearsal import MOST_READERS
from app.models.reader_studies.typed import number, whole
from app.models.reader_studies.wish import MOST_IMAGES
from app.responses import page
from ml.readers.choice_rehearsal import ChoicePlan, plan_choices
from ml.statistics.proportion import ReadersError

router = APIRouter(include_in_schema=False)


@router.get("/reader-studies/planner/pairs")
def pairs(
    request: Request,
    user: Researcher,
    readers: str = "5",
    pairs: str = "100",
    share: str = "0.60",
    margin: str = "0.10",
) -> Response:
    """How many pairs and readers a study of pairs needs."""
    typed = {"readers": readers, "pairs": pairs, "share": share, "margin": margin}
    found: ChoicePlan | None = None
    error = ""
    try:
        people, count = whole(readers, "the readers"), whole(pairs, "the pairs")
        if not 2 <= count <= MOST_IMAGES or not 1 <= people <= MOST_READERS:
            raise Unreadable(
                f"Plan with 2 to {MOST_IMAGES} pairs and 1 to {MOST_READERS} readers, not {count} "
                f"and {people}."
            )
        found = plan_choices(
            people, count, number(share, "the share"), number(margin, "the margin")
        )
    except (Unreadable, ReadersError) as refusal:
        error = str(refusal)
    return page(
        request,
        "plans/pairs.html",
        422 if error else 200,
        form=typed,
        plan=found,
        error=error,
    )
