"""Plans of unaware studies: what their first part can show with so many images and readers."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.auth import Researcher
from app.errors import Unreadable
from app.models.reader_studies.rehearsal import MOST_READERS
from app.models.reader_studies.typed import number, whole
from app.models.reader_studies.wish import MOST_IMAGES
from app.responses import page
from ml.readers.unaware_rehearsal import FirstPart, FirstPartPlan, plan_first_part
from ml.statistics.proportion import ReadersError

router = APIRouter(include_in_schema=False)


@router.get("/reader-studies/planner/unaware")
def unaware(
    request: Request,
    user: Researcher,
    readers: str = "5",
    real: str = "40",
    synthetic: str = "40",
    real_right: str = "0.75",
    synthetic_right: str = "0.60",
) -> Response:
    """What the first part of an unaware study can show."""
    typed = {
        "readers": readers, "real": real, "synthetic": synthetic, "real_right": real_right,
        "synthetic_right": synthetic_right,
    }  # fmt: skip
    found: FirstPartPlan | None = None
    error = ""
    try:
        people = whole(readers, "the readers")
        counts = whole(real, "the real images"), whole(synthetic, "the synthetic images")
        if max(counts) > MOST_IMAGES or people > MOST_READERS:
            raise Unreadable(
                f"Plan with at most {MOST_IMAGES} images of a source and {MOST_READERS} readers."
            )
        shares = number(real_right, "the share of real"), number(synthetic_right, "the other share")
        found = plan_first_part(FirstPart(people, *counts, *shares))
    except (Unreadable, ReadersError) as refusal:
        error = str(refusal)
    return page(
        request, "plans/unaware.html", 422 if error else 200, form=typed, plan=found, error=error
    )
