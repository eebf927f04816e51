"""Plans of reader studies: how many images and readers one needs."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.auth import Researcher
from app.errors import Unreadable
from app.models.reader_studies.typed import number, whole
from app.models.reader_studies.wish import MOST_IMAGES
from app.responses import page
from ml.statistics.power import Plan, area_equivalence_power, area_power, plan
from ml.statistics.proportion import ReadersError

router = APIRouter(include_in_schema=False)


@router.get("/reader-studies/planner")
def planner(
    request: Request,
    user: Researcher,
    readers: str = "5",
    cases: str = "300",
    effect: str = "0.10",
    margin: str = "0.10",
) -> Response:
    """How many images and readers a study needs."""
    typed = {"readers": readers, "cases": cases, "effect": effect, "margin": margin}
    found: Plan | None = None
    single: list[dict[str, float]] = []
    error = ""
    try:
        count = whole(cases, "the images")
        if count > 10 * MOST_IMAGES or whole(readers, "the readers") > 200:
            raise Unreadable(f"Plan with at most {10 * MOST_IMAGES} images and 200 readers.")
        distance, within = number(effect, "the effect"), number(margin, "the margin")
        found = plan(whole(readers, "the readers"), count, distance, margin=within)
        for images in sorted({60, 100, 150, 200, 300, 400, count}):
            half = images // 2
            single.append(
                {
                    "images": images,
                    "difference": area_power(0.5 + abs(distance), half, images - half),
                    "equivalence": area_equivalence_power(half, images - half, within),
                }
            )
    except (Unreadable, ReadersError) as refusal:
        error = str(refusal)
    return page(
        request,
        "reader_studies/planner.html",
        422 if error else 200,
        form=typed,
        plan=found,
        single=single,
        error=error,
    )
