"""Drift: whether the lesions of the last months look as those before them did.

The reference are the site's own first months, as many blocks of three as have enough patients. The
window that is tested is the last whole block after them. Blocks are the quarters of the calendar,
so that nobody chooses them, looking again tomorrow tests nothing anew (`ml.statistics.drift`), and
none moves where the earliest lesion is withdrawn or deleted, or closed to whoever looks. Of each
patient there is one lesion; who is in the reference is in no later window.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload

from app.db import in_parts
from app.models.cases.case import Case, Image, Series
from app.models.cases.lesion import Lesion
from app.models.cases.prediction import Prediction
from app.models.monitoring.months import Said
from app.models.monitoring.scope import Ints, Scope, month_words
from ml.ground.errors import HepaticaError
from ml.images import quick
from ml.images.ct_slice import ImageKind
from ml.images.measurements import Measurement
from ml.statistics import drift, exact
from ml.statistics.figure import Figure
from ml.trust import conformal
from ml.trust.local import too_few
from ml.trust.novelty import Reference

Floats = npt.NDArray[np.float64]

BLOCK = 3
"""Months of a window."""
LEAST_BEFORE = 50
"""Patients of the reference."""
LEAST_NOW = 30
"""Patients of the window that is tested: of fewer, only a gap of a half or more is ever noticed."""
MOST = 2000
"""Patients of each window that are compared: of more, some that are drawn."""
MOST_MEASURED = 200
"""Lesions of each window whose pixels are measured."""
ERROR = 0.05
"""How often anything at all is called changed in an installation where nothing ever changes."""
_FAMILIES = 2
"""What the database tells, and what is measured in pixels when somebody asks for it."""
_MOST_WORDS = 5
_NOT_TOLD = "not told"
_SEED = 20181210

_MEASURED = ("lesion_mean", "surround_mean", "contrast", "surround_sd", "surround_band_0")
"""The last is fine detail around the lesion: the noise."""


@dataclass(frozen=True)
class Window:
    """Some months with what was scored in them: "2026-01" to "2026-03"."""

    first: str
    last: str
    patients: int


@dataclass(frozen=True)
class Side:
    """One input in one window.

    Attributes:
        n: of how many patients it is known.
        quartiles: lower, median, upper, of numbers; None of words, or of none.
        shares: of the commonest words; None of numbers.
    """

    n: int
    quartiles: tuple[float, float, float] | None
    shares: Mapping[str, float] | None


@dataclass(frozen=True)
class Input:
    """One input in both windows.

    Attributes:
        distance: 0, alike, to 1, nothing in common; None where ``why`` says why.
        p: adjusted for all inputs and all windows there will ever be.
        changed: whether it is below `ERROR`.
        beyond: share of the recent window that is outside the range of the training ROIs; None
            where that is not known.
    """

    name: str
    words: str
    unit: str
    before: Side
    now: Side
    distance: float | None
    p: float | None
    changed: bool
    why: str
    beyond: Figure | None


@dataclass(frozen=True)
class Inputs:
    """What was compared.

    Attributes:
        before, now: the windows; None where there is none yet.
        number: which window after the reference is tested; None where there is none.
        noticed: about the distance from which on a number is called changed; a smaller one can be
            there and go unseen. None where nothing is compared.
        why: why nothing is compared; "" where something is.
        told: what the database tells.
        measured: of pixels; None where it was not asked for.
        unmeasured: how many lesions could not be measured.
    """

    before: Window | None
    now: Window | None
    number: int | None
    noticed: float | None
    why: str
    told: tuple[Input, ...]
    measured: tuple[Input, ...] | None
    unmeasured: int

    @classmethod
    def of(cls, session: Session, scope: Scope, said: Said, now: int, *, measure: bool) -> Inputs:
        """Of lesions that stand.

        Args:
            now: the present month, which is not over.
            measure: also look at pixels, which takes seconds.
        """
        found = _windows(said.months, said.patients, now)
        if isinstance(found, Inputs):
            return found
        first, last = found.sides(said)
        told = cls(
            Window(month_words(found.first), month_words(found.reference_end - 1), len(first)),
            Window(month_words(found.recent), month_words(found.recent_end - 1), len(last)),
            found.number,
            None,
            "",
            (),
            None,
            0,
        )
        if len(last) < LEAST_NOW:
            return replace(told, why=too_few(len(last), LEAST_NOW, " in the last whole window"))
        sides = [_rows(session, scope, some) for some in (first, last)]
        numbers = [
            _numbers(*named, *([one.numbers[place] for one in some] for some in sides))
            for place, named in enumerate(_NUMBERS)
        ]
        words = [
            _words(*named, *([one.words[place] for one in some] for some in sides))
            for place, named in enumerate(_WORDS)
        ]
        told = replace(
            told,
            told=_adjusted([*numbers, *words], found.number),
            noticed=drift.noticed(
                len(first), len(last), len(numbers) + len(words), found.number, _FAMILIES, ERROR
            ),
        )
        if not measure:
            return told
        measured, unmeasured = _measured(session, scope, *sides)
        return replace(told, measured=_adjusted(measured, found.number), unmeasured=unmeasured)


_NUMBERS = (
    ("novelty", "distance to the training ROIs", ""),
    ("diameter_mm", "diameter", "mm"),
    ("spacing_mm", "pixel spacing", "mm"),
    ("thickness_mm", "slice thickness", "mm"),
)
_WORDS = (
    ("manufacturer", "manufacturer"),
    ("kernel", "reconstruction kernel"),
    ("phase", "contrast phase"),
)


@dataclass(frozen=True)
class _Row:
    """A lesion: ``numbers`` and ``words`` in the order of `_NUMBERS` and `_WORDS`."""

    lesion: uuid.UUID
    numbers: tuple[float, ...]
    words: tuple[str, ...]


@dataclass(frozen=True)
class _Windows:
    """Months, each end beyond the last one."""

    first: int
    reference_end: int
    recent: int
    recent_end: int
    number: int

    def sides(self, said: Said) -> tuple[list[uuid.UUID], list[uuid.UUID]]:
        """One lesion of each patient, in the reference and, of further patients, in the window;
        of more than `MOST` patients of either some that are drawn."""
        before = said.only(said.months < self.reference_end)
        recent = said.only((said.months >= self.recent) & (said.months < self.recent_end))
        recent = recent.only(~np.isin(recent.patients, before.patients))
        return _one_each(before), _one_each(recent)


def _windows(months: Ints, patients: Ints, now: int) -> _Windows | Inputs:
    def none(why: str) -> Inputs:
        return Inputs(None, None, None, None, why, (), None, 0)

    if not len(months):
        return none("nothing was scored")
    first = int(months.min()) // BLOCK * BLOCK
    whole = (now - first) // BLOCK  # blocks that are over
    block = (months - first) // BLOCK
    reference = next(
        (
            end
            for end in range(1, whole + 1)
            if len(np.unique(patients[block < end])) >= LEAST_BEFORE
        ),
        None,
    )
    if reference is None:
        count = len(np.unique(patients[block < whole]))
        if not whole:
            return none(
                f"the quarter in which scoring began, {month_words(first)} to "
                f"{month_words(first + BLOCK - 1)}, is not over: later ones are compared with it"
            )
        return none(too_few(count, LEAST_BEFORE, " until the last whole window, for a reference"))
    if whole == reference:
        end = month_words(first + BLOCK * (whole + 1) - 1)
        return none(f"no {BLOCK} months after the reference are over; the first end with {end}")
    return _Windows(
        first, first + BLOCK * reference, first + BLOCK * (whole - 1), first + BLOCK * whole,
        whole - reference,
    )  # fmt: skip


def _rows(session: Session, scope: Scope, lesions: Sequence[uuid.UUID]) -> list[_Row]:
    query = scope.within(
        sa.select(
            Lesion.id,
            Prediction.said[("unlike_training", "score")].as_float(),
            Lesion.width,
            Lesion.height,
            Image.row_spacing_mm,
            Image.column_spacing_mm,
            Image.tags["SliceThickness"].as_string(),
            Image.tags["Manufacturer"].as_string(),
            Image.tags["ConvolutionKernel"].as_string(),
            Case.contrast_phase,
        )
    )
    nan = float("nan")
    found: list[_Row] = []
    for some in in_parts(lesions):
        rows = session.execute(query.where(Prediction.lesion_id.in_(some)))
        for lesion, score, width, height, down, across, *tags in rows:
            known = down is not None and across is not None
            numbers = (
                nan if score is None else score,
                max(width * across, height * down) if known else nan,
                across if known else nan,
                _number(tags[0]),
            )
            words = (tags[1] or _NOT_TOLD, tags[2] or _NOT_TOLD, tags[3])
            found.append(_Row(lesion, numbers, words))
    return sorted(found, key=lambda row: str(row.lesion))


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")


def _one_each(said: Said) -> list[uuid.UUID]:
    # in the order of their ids, so that whatever order the database has the same are drawn
    said = said.only(np.argsort(said.lesions.astype(str), kind="stable"))
    drawn = conformal.one_each(said.patients, np.zeros_like(said.patients), _SEED)
    chosen = np.random.default_rng(_SEED).permutation(drawn)[:MOST]
    return [uuid.UUID(str(one)) for one in said.lesions[chosen]]


def _numbers(
    name: str, words: str, unit: str, before: Sequence[float], recent: Sequence[float]
) -> Input:
    sides = [np.asarray([one for one in some if np.isfinite(one)]) for some in (before, recent)]
    told = [Side(len(some), _quartiles(some) if len(some) else None, None) for some in sides]
    why = _lacking(*told)
    gap = None if why else drift.of_numbers(*sides)
    return _input(name, words, unit, told, gap, why)


def _words(name: str, words: str, before: Sequence[str], recent: Sequence[str]) -> Input:
    told = [
        Side(
            len(some), None,
            {word: n / len(some) for word, n in Counter(some).most_common(_MOST_WORDS)},
        )
        for some in (before, recent)
    ]  # fmt: skip
    why = _lacking(*told)
    gap = None if why else drift.of_words(before, recent)
    return _input(name, words, "", told, gap, why)


def _quartiles(values: Floats) -> tuple[float, float, float]:
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return float(low), float(middle), float(high)


def _lacking(before: Side, now: Side) -> str:
    for side, least, where in (
        (before, LEAST_BEFORE, " with it in the reference"),
        (now, LEAST_NOW, " with it in the last whole window"),
    ):
        if side.n < least:
            return too_few(side.n, least, where)
    return ""


def _input(
    name: str, words: str, unit: str, sides: Sequence[Side], gap: drift.Gap | None, why: str
) -> Input:
    """Not adjusted yet."""
    before, now = sides
    distance, p = (None, None) if gap is None else (gap.distance, gap.p)
    return Input(name, words, unit, before, now, distance, p, False, why, None)


def _adjusted(inputs: Sequence[Input], number: int) -> tuple[Input, ...]:
    known = [one.p for one in inputs if one.p is not None]
    values = iter(drift.adjusted(known, number, _FAMILIES))
    found = []
    for one in inputs:
        p = None if one.p is None else next(values)
        found.append(replace(one, p=p, changed=p is not None and p < ERROR))
    return tuple(found)


def _measured(
    session: Session, scope: Scope, before: Sequence[_Row], recent: Sequence[_Row]
) -> tuple[list[Input], int]:
    """Lesions of each window, drawn once, measured as serving measures them."""
    own = scope.checkpoint
    in_hu = scope.kind != ImageKind.UNCALIBRATED
    window = own.window_hu if in_hu else None
    sides, missed = [], 0
    for some in (before, recent):
        order = np.random.default_rng(_SEED).permutation(len(some))[:MOST_MEASURED]
        pixels = []
        for lesion in _lesions(session, [some[place].lesion for place in order]):
            try:
                pixels.append(lesion.roi(session, own.window_hu, own.grey_range).pixels)
            except HepaticaError:
                missed += 1
        rois = np.stack(pixels) if pixels else np.zeros((0, 64, 64), np.float32)
        sides.append(quick.measure(rois, window))
    of = {one.name: (place, one) for place, one in enumerate(sides[0].of)}
    reference = _reference(session, scope)
    found = []
    for name in _MEASURED:
        place, what = of[name]
        columns = [side.values[:, place] for side in sides]
        # both windows' lesions are clipped alike, so these are no HU of the images
        words = what.words if window is None else f"{what.words}, within {own.window_words}"
        made = _numbers(name, words, what.unit, *(column.tolist() for column in columns))
        found.append(replace(made, beyond=_beyond(reference, what, columns[1])))
    return found, missed


def _lesions(session: Session, ids: Sequence[uuid.UUID]) -> list[Lesion]:
    query = sa.select(Lesion).options(
        joinedload(Lesion.image).joinedload(Image.series).joinedload(Series.case)
    )
    return [
        lesion
        for some in in_parts(ids)
        for lesion in session.scalars(query.where(Lesion.id.in_(some)))
    ]


def _reference(session: Session, scope: Scope) -> Reference | None:
    """The training ROIs, where they are of the same kind of image."""
    if scope.checkpoint.training_kind != scope.kind:
        return None
    trust = scope.checkpoint.trust(session)
    return trust.novelty.reference if trust is not None and trust.novelty is not None else None


def _beyond(reference: Reference | None, of: Measurement, values: Floats) -> Figure | None:
    names = [] if reference is None else [one.name for one in reference.of]
    if reference is None or of.name not in names or not len(values):
        return None
    place = names.index(of.name)
    outside = (values < reference.low[place]) | (values > reference.high[place])
    return exact.share(outside, np.arange(len(values)))
