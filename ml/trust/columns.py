"""The measurements that something stored was made of: their unit and names, and back."""

from __future__ import annotations

from collections.abc import Sequence

from ml.ground.errors import HepaticaError
from ml.images import measurements
from ml.images.measurements import Measurement


def unit_of(columns: Sequence[Measurement]) -> str:
    """Of their values: HU or grey."""
    grey = any(one.unit == measurements.GREY for one in columns)
    return measurements.GREY if grey else measurements.HU


def columns_of(
    unit: str, names: Sequence[str], wanted_by: str, refusal: type[HepaticaError]
) -> tuple[Measurement, ...]:
    """Those of stored names, in their order.

    Args:
        wanted_by: what was made of them, for the refusal.
        refusal: its class.

    Raises:
        HepaticaError: of that class, where this program does not make one of them.
    """
    known = {one.name: one for one in measurements.named(unit)}
    lacking = [name for name in names if name not in known]
    if lacking:
        raise refusal(
            f"This program does not measure {', '.join(lacking)}, which the checkpoint's "
            f"{wanted_by} wants; use the matching program."
        )
    return tuple(known[name] for name in names)
