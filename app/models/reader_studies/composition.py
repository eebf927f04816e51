"""Compositions: which lesions and which seeds a new reader study shows.

In steps: what is asked (`Wish`), what is available, how it is balanced over the classes (`Shares`),
what is drawn, what of it is too like a real ROI and drawn anew, and what is said of it all.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from sqlalchemy.orm import Session

from app.errors import Unreadable
from app.models.checkpoint import Checkpoint
from app.models.reader_studies.available import Available
from app.models.reader_studies.design import Design, SecondImages
from app.models.reader_studies.halves import kinds_of_halves
from app.models.reader_studies.neighbours import Neighbours
from app.models.reader_studies.planned import Plan, PlannedDrawing, PlannedImages, PlannedLesion
from app.models.reader_studies.shares import Numbers, Shares
from app.models.reader_studies.task import Task
from app.models.reader_studies.wish import Wish
from app.models.runs.known_lesions import KnownLesion, one_per_patient
from ml.images.ct_slice import ImageKind
from ml.lesion import LesionScheme
from ml.readers.hypothesis import Claim

Draw = Callable[[Session, Checkpoint, Sequence[int]], npt.NDArray[np.float32]]
"""How synthetic ROIs are drawn: (session, generator, seeds) → (n, 64, 64) in [−1, 1]."""

_ROUNDS = 8


class Seeds:
    """Everything random of a composition: one generator, and seeds that never come twice."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self._taken: set[int] = set()

    def take(self, seeds: Iterable[int]) -> None:
        """Give none of these: they were chosen."""
        self._taken.update(seeds)

    def next(self) -> int:
        """A seed from 0 to 2⁴⁸ − 1 that was not given before."""
        seed = int(self.rng.integers(2**48))
        while seed in self._taken:
            seed = int(self.rng.integers(2**48))
        self._taken.add(seed)
        return seed


@dataclass(frozen=True)
class Drawn:
    """The lesions and seeds of a study and of its practice."""

    lesions: tuple[KnownLesion, ...]
    drawings: tuple[PlannedDrawing, ...]
    practice_lesions: tuple[KnownLesion, ...] = ()
    practice_drawings: tuple[PlannedDrawing, ...] = ()

    @classmethod
    def of(cls, available: Available, shares: Shares, seeds: Seeds, task: Task) -> Drawn:
        """One lesion a patient where possible, and a seed for each synthetic image."""
        if not task.shows_real:
            return cls((), _contests(available.drawing, shares.synthetic, seeds))
        lesions = one_per_patient(available.lesions, shares.real, seeds.rng)
        drawings = _drawings(available.drawing, shares.synthetic, seeds, available.chosen)
        practice = _for_practice(available.lesions, lesions, shares.practice_real, seeds.rng)
        practice_drawings = _drawings(available.drawing, shares.practice_synthetic, seeds)
        return cls(tuple(lesions), drawings, tuple(practice), practice_drawings)

    @property
    def every_drawing(self) -> tuple[PlannedDrawing, ...]:
        """The study's synthetic images, then those of its practice."""
        return self.drawings + self.practice_drawings

    def with_drawings(self, every: Sequence[PlannedDrawing]) -> Drawn:
        """With others in the place of ``every_drawing``, in the same order."""
        own = len(self.drawings)
        return replace(self, drawings=tuple(every[:own]), practice_drawings=tuple(every[own:]))


@dataclass(frozen=True)
class Composition:
    """The images of a study to be: what `ReaderStudy` keeps."""

    title: str
    kind: ImageKind
    scheme: LesionScheme
    window_hu: tuple[float, float]
    seed: int
    plan: Plan
    notes: list[str]
    design: Design
    study_id: uuid.UUID | None = None
    typed_seed: int | None = None

    @staticmethod
    def choose(session: Session, wish: Wish, draw: Draw | None = None) -> Composition:
        """Choose images: balanced over the classes, one a patient where possible. Only reads.

        Args:
            draw: needed where the design excludes synthetic ROIs too near to real ones.

        Raises:
            Unreadable: the wish cannot be filled, or the data lack what it asks (counts are said).
            NotFound: a version or generator that there is not.
        """
        wish = wish.checked()
        available = Available.of(session, wish)
        assert wish.seed is not None
        seeds = Seeds(wish.seed)
        seeds.take(one for chosen in wish.chosen.values() for one in chosen)
        keys = wish.scheme.keys
        order = [keys[index] for index in seeds.rng.permutation(len(keys))]
        shares = Shares.of(wish, available, order)
        drawn = Drawn.of(available, shares, seeds, wish.design.task)
        if not wish.design.exclude_near:
            return _described(wish, available, drawn)
        if draw is None:
            raise Unreadable("Synthetic ROIs cannot be compared with real ones here.")
        compared, neighbours, replaced = _compared(
            session, available, drawn, wish.design.near_limit, seeds, draw
        )
        return _described(wish, available, compared, neighbours, replaced)


def _contests(
    generators: Mapping[str, Sequence[Checkpoint]], wanted: Numbers, seeds: Seeds
) -> tuple[PlannedDrawing, ...]:
    """Planned pairs, one drawing after the other: every two generators of a class take turns."""
    planned: list[PlannedDrawing] = []
    for key, count in wanted.items():
        meetings = list(combinations(generators[key], 2))
        for _ in range(count // 2):
            turn = len(planned) // 2  # goes on from class to class
            planned += [
                PlannedDrawing(row.id, key, seeds.next()) for row in meetings[turn % len(meetings)]
            ]
    return tuple(planned)


def _drawings(
    generators: Mapping[str, Sequence[Checkpoint]],
    wanted: Numbers,
    seeds: Seeds,
    chosen: Mapping[str, Sequence[tuple[Checkpoint, int]]] = MappingProxyType({}),
) -> tuple[PlannedDrawing, ...]:
    """Planned synthetic images: those that were chosen, and for the rest of each class the
    generators of it in turns.

    Raises:
        Unreadable: more are chosen of a class than the study shows.
    """
    planned: list[PlannedDrawing] = []
    for key, count in wanted.items():
        own = [PlannedDrawing(row.id, key, seed) for row, seed in chosen.get(key, ())]
        if len(own) > count:
            raise Unreadable(
                f"{len(own)} synthetic images of the class {key} are chosen, and the study shows "
                f"{count}. Ask for more of the class, or choose fewer (step Images)."
            )
        planned += own
        planned += [
            PlannedDrawing(generators[key][number % len(generators[key])].id, key, seeds.next())
            for number in range(count - len(own))
        ]
    return tuple(planned)


def _for_practice(
    lesions: Sequence[KnownLesion],
    taken: Sequence[KnownLesion],
    wanted: Numbers,
    rng: np.random.Generator,
) -> list[KnownLesion]:
    """Lesions that the study does not show, of other patients where there are enough."""
    used = {item.id for item in taken}
    patients = {item.patient for item in taken}
    chosen: list[KnownLesion] = []
    if not any(wanted.values()):
        return chosen
    for key, count in wanted.items():
        left = [item for item in lesions if item.id not in used and item.lesion_class == key]
        shuffled = [left[int(index)] for index in rng.permutation(len(left))]
        chosen += sorted(shuffled, key=lambda item: item.patient in patients)[:count]
    return chosen


def _compared(
    session: Session,
    available: Available,
    drawn: Drawn,
    limit: float | None,
    seeds: Seeds,
    draw: Draw,
) -> tuple[Drawn, Neighbours, int]:
    """With another seed for synthetic ROIs too like a real one; how many were given one.

    Raises:
        Unreadable: after 8 rounds some are still too near.
    """
    planned = list(drawn.every_drawing)
    generators = _generators_of(session, planned)
    neighbours = Neighbours.of(
        session, available.lesions, generators.values(), available.window_hu, limit
    )
    suspects, replaced = list(range(len(planned))), 0
    for _ in range(_ROUNDS):
        near: list[int] = []
        for key, checkpoint in generators.items():
            mine = [place for place in suspects if planned[place].checkpoint == key]
            if not mine:
                continue
            rois = draw(session, checkpoint, [planned[place].seed for place in mine])
            wrong = neighbours.too_near(checkpoint, list(rois))
            near += [place for place, is_near in zip(mine, wrong, strict=True) if is_near]
        if not near:
            return drawn.with_drawings(planned), neighbours, replaced
        _refuse_chosen(available, [planned[place] for place in near])
        replaced += len(near)
        for place in near:
            planned[place] = replace(planned[place], seed=seeds.next())
        suspects = near
    raise Unreadable(
        f"{len(suspects)} of the {len(planned)} synthetic images stay too like a real one "
        f"(correlation above {neighbours.known.limit:.3f}) after {_ROUNDS} tries each: a "
        "generator may repeat its training images. Choose another, or do not exclude near ones."
    )


def _refuse_chosen(available: Available, near: Sequence[PlannedDrawing]) -> None:
    """Unreadable where one that is too like a real ROI was chosen: no other stands for it."""
    chosen = {(row.id, seed): row for one in available.chosen.values() for row, seed in one}
    found = [one for one in near if (one.checkpoint, one.seed) in chosen]
    if found:
        names = ", ".join(f"{chosen[one.checkpoint, one.seed].name} {one.seed}" for one in found)
        raise Unreadable(
            f"Too like a real ROI, and chosen by hand: {names}. Choose others, or do not draw near "
            "ones anew (step Images)."
        )


def _generators_of(
    session: Session, planned: Sequence[PlannedDrawing]
) -> dict[uuid.UUID, Checkpoint]:
    """The generators of planned synthetic images, by id, in the order of their first image."""
    found = {
        key: session.get(Checkpoint, key)
        for key in dict.fromkeys(one.checkpoint for one in planned)
    }
    return {key: row for key, row in found.items() if row is not None}


def _described(
    wish: Wish,
    available: Available,
    drawn: Drawn,
    neighbours: Neighbours | None = None,
    replaced: int = 0,
) -> Composition:
    """What was chosen, with what is to be known of it.

    Raises:
        Unreadable: the primary hypothesis is of generators that draw none of the images.
    """
    _refuse_unfit(wish.design, available, drawn)
    notes = [*available.left_out, *_notes(drawn.lesions, available.withdrawn)]
    if available.n_chosen:
        notes.append(
            f"Chosen by hand: {available.n_chosen} of the {len(drawn.drawings)} synthetic images. "
            "What is chosen by eye is no sample of what a generator draws."
        )
    likeness = None
    if neighbours is not None:
        notes += neighbours.notes(replaced)
        likeness = neighbours.record(replaced)
    assert wish.seed is not None
    return Composition(
        title=wish.title,
        kind=available.kind,
        scheme=wish.scheme,
        window_hu=available.window_hu,
        seed=wish.seed,
        plan=Plan(
            PlannedImages(_planned(drawn.lesions), drawn.drawings),
            PlannedImages(_planned(drawn.practice_lesions), drawn.practice_drawings),
            available.sources(likeness),
        ),
        notes=notes,
        design=wish.design,
        study_id=wish.study_id,
        typed_seed=wish.typed_seed,
    )


def _refuse_unfit(design: Design, available: Available, drawn: Drawn) -> None:
    """Unreadable where the primary hypothesis is of generators that draw none of the images."""
    _refuse_lopsided(design, drawn)
    primary = design.intent.primary
    if primary is None:
        return
    names = {row.id: row.generator for rows in available.drawing.values() for row in rows}
    shown = sorted({names[one.checkpoint] for one in drawn.drawings})
    if primary.claim is Claim.GENERATORS and not design.task.shows_real:
        raise Unreadable("A preference names a generator. Choose another primary hypothesis.")
    if primary.claim is Claim.GENERATORS and len(shown) < 2:
        raise Unreadable(
            "The primary hypothesis compares generators, and all synthetic images are of one: "
            f"{', '.join(shown)}. Choose images of two, or another hypothesis."
        )
    if primary.generator and primary.generator not in shown:
        raise Unreadable(
            f"The primary hypothesis is of the images of {primary.generator}, and there are none "
            f"of it. There are images of {', '.join(shown)}."
        )


def _refuse_lopsided(design: Design, drawn: Drawn) -> None:
    """Unreadable where a part of an unaware study would have no two images of a source."""
    if not design.unaware:
        return
    kinds = PlannedImages(_planned(drawn.lesions), drawn.drawings).kinds
    halves = kinds_of_halves(kinds)
    parts = (kinds,) if design.second_images is SecondImages.SAME else halves
    for number, part in enumerate(parts, 1):
        counts = Counter(source for source, _ in part)
        if min(counts["real"], counts["synthetic"]) < 2:
            raise Unreadable(
                f"Part {number} would show {counts['real']} real and {counts['synthetic']} "
                "synthetic images, and of fewer than two nothing can be said. Ask for more of each "
                "class, or let the second part show the same images."
            )


def _planned(lesions: Sequence[KnownLesion]) -> tuple[PlannedLesion, ...]:
    return tuple(PlannedLesion(item.id, item.lesion_class) for item in lesions)


def _notes(shown: Sequence[KnownLesion], withdrawn: int) -> list[str]:
    images, patients = len(shown), len({item.patient for item in shown})
    notes = []
    if withdrawn:
        lesions = "1 lesion" if withdrawn == 1 else f"{withdrawn} lesions"
        notes.append(f"Left out of the chosen dataset versions: {lesions} withdrawn since.")
    if patients != images:
        from_whom = "1 patient" if patients == 1 else f"{patients} patients"
        notes.append(
            f"The {images} real images come from {from_whom}: there are not enough patients "
            "for one each. Images of one patient are alike, which makes intervals wider."
        )
    return notes
