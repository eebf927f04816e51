"""Compositions: which lesions and which seeds a new reader study shows."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy.orm import Session

from app.errors import Unreadable
from app.models.checkpoint import Checkpoint
from app.models.people.user import User
from app.models.reader_studies.design import Design
from app.models.reader_studies.exposure import Exposure
from app.models.reader_studies.neighbours import Neighbours
from app.models.reader_studies.stimulus import REAL, SYNTHETIC
from app.models.runs.dataset import DatasetVersion
from app.models.runs.known_lesions import KINDS, KnownLesion, Pool, balanced, one_per_patient
from ml.lesion import LesionScheme

MOST_IMAGES = 1000
"""Most images of one source in a study."""

MOST_SEED = 2**53 - 1

Draw = Callable[[Session, Checkpoint, Sequence[int]], npt.NDArray[np.float32]]
"""How synthetic ROIs are drawn: (session, generator, seeds) → (n, 64, 64) in [−1, 1]."""

Asked = int | Mapping[str, int]
"""A number of images: in all, to be balanced over the classes, or per class key."""

_ROUNDS = 8


@dataclass(frozen=True)
class Composition:
    """The images of a study to be: what `ReaderStudy` keeps.

    ``plan``: ``{"real": [{"lesion", "lesion_class"}], "synthetic": [{"checkpoint",
    "lesion_class", "seed"}], "practice": {"real": […], "synthetic": […]}, "sources": {"real",
    "versions": [{"name", "digest", "rois"}], "likeness"}}``.
    """

    title: str
    kind: str
    scheme: LesionScheme
    window_hu: tuple[float, float]
    seed: int
    plan: dict[str, Any]
    notes: list[str]
    design: Design

    @staticmethod
    def choose(
        session: Session,
        *,
        title: str,
        scheme: LesionScheme,
        real: Asked,
        synthetic: Asked,
        kind: str | None = None,
        generators: Sequence[str] = (),
        versions: Sequence[str] = (),
        seed: int | None = None,
        without_cases: Collection[uuid.UUID] = (),
        without_lesions_of: Sequence[User] = (),
        design: Design | None = None,
        draw: Draw | None = None,
    ) -> Composition:
        """Choose images: balanced over the classes, one a patient where possible. Only reads.

        Args:
            scheme: the lesion classes.
            real, synthetic: how many images of each source, in all or per class.
            kind: a key of ``KINDS``; None: the one with enough data, when it is only one.
            generators: names of served generators; none: the newest of each class.
            versions: names of the dataset versions that real images come from, with the class
                that was frozen; none: all reviewed lesions.
            seed: everything random of the study comes from it; None: drawn now.
            without_cases: cases whose lesions are not used.
            without_lesions_of: people whose lesions are not used: those that they marked,
                reviewed, or read in a reader study.
            design: how it is read; None: two questions and nothing else.
            draw: needed where the design excludes synthetic ROIs too near to real ones.

        Raises:
            Unreadable: the form cannot be used, or the data lack what it asks (counts are said).
        """
        title = title.strip()
        if not 1 <= len(title) <= 200:
            raise Unreadable("Give the study a title of 1 to 200 characters.")
        for asked, source in ((real, REAL), (synthetic, SYNTHETIC)):
            if isinstance(asked, Mapping) and (
                set(asked) != set(scheme.keys) or min(asked.values()) < 0
            ):
                raise Unreadable(
                    f"Numbers of {source} images per class are for {', '.join(asked)}; this "
                    f"scheme has {', '.join(scheme.keys)}. Choose a number in all."
                )
            number = _all(asked)
            if not 1 <= number <= MOST_IMAGES:
                raise Unreadable(f"Choose from 1 to {MOST_IMAGES} {source} images, not {number}.")
        seed = secrets.randbelow(MOST_SEED) if seed is None else seed
        if not 0 <= seed <= MOST_SEED:
            raise Unreadable(f"Choose a seed from 0 to {MOST_SEED}, or leave it empty.")
        design = (design or Design()).checked(_all(real) + _all(synthetic))
        frozen = DatasetVersion.chosen(session, versions)
        pool = Pool.of(
            session,
            scheme,
            without_cases,
            _known_to(session, without_lesions_of),
            DatasetVersion.joint_classes(session, frozen, scheme) if frozen else None,
        )
        kind = kind or _only_kind(pool)
        if kind not in KINDS:
            raise Unreadable(f"Choose the kind of image: {', '.join(KINDS)}.")
        drawing = _generators_by_class(session, pool, kind, generators)
        windows = {row.window_hu for rows in drawing.values() for row in rows}
        ranged = [row.name for rows in drawing.values() for row in rows if row.grey_range]
        if ranged:
            raise Unreadable(
                f"{ranged[0]} was trained with a grey range of its own, and real pictures are "
                "shown over the full one: contrast would give the images away. Choose a generator "
                "without one."
            )
        rng = np.random.default_rng(seed)
        order = [scheme.keys[index] for index in rng.permutation(len(scheme))]
        counts = pool.counts(kind)

        def spread(asked: Asked) -> dict[str, int]:
            return dict(asked) if isinstance(asked, Mapping) else balanced(asked, counts, order)

        wanted = spread(real)
        left = [
            replace(
                item,
                lesions=item.lesions - wanted[item.lesion_class],
                patients=item.patients - wanted[item.lesion_class],
            )
            for item in counts
        ]
        trained = balanced(design.practice // 2, left, order)
        have = {item.lesion_class: item.lesions for item in counts}
        if any(wanted[key] + trained[key] > have[key] for key in have):
            where = f" in {', '.join(row.name for row in frozen)}" if frozen else ""
            more = "Choose further versions" if frozen else "Mark and review more lesions"
            practice = f" and, for practice, {_said(trained)}" if design.practice else ""
            raise Unreadable(
                f"A study with {_all(real)} real images of the kind {KINDS[kind]} needs lesions "
                f"with a known class: {_said(wanted)}{practice}. There are "
                f"{_said(have)}{where}. {more}, or choose fewer images"
                f"{' or less practice (step Reading)' if design.practice else ''}."
            )
        chosen = one_per_patient(pool.of_kind(kind), wanted, rng)
        if len(windows) != 1:
            raise Unreadable(
                "The chosen generators were trained with different windows; their images would "
                "differ in contrast. Choose generators of one window."
            )
        window = windows.pop()
        seeds: set[int] = set()
        drawn = _drawn(drawing, spread(synthetic), rng, seeds)
        practice_real: list[KnownLesion] = []
        practice_drawn: list[dict[str, Any]] = []
        if design.practice:
            practice_real = _for_practice(pool.of_kind(kind), chosen, trained, rng)
            mix = balanced(design.practice - len(practice_real), left, order)
            practice_drawn = _drawn(drawing, mix, rng, seeds)
        notes = _notes(len(chosen), len({item.patient for item in chosen}), pool.withdrawn)
        likeness = None
        if design.exclude_near:
            if draw is None:
                raise Unreadable("Synthetic ROIs cannot be compared with real ones here.")
            planned = [*drawn, *practice_drawn]
            neighbours = Neighbours.of(
                session,
                pool.of_kind(kind),
                _generators_of(session, planned).values(),
                window,
                design.near_limit,
            )
            replaced = _replace_near(session, neighbours, planned, rng, seeds, draw)
            notes += neighbours.notes(replaced)
            likeness = neighbours.record(replaced)
        return Composition(
            title=title,
            kind=kind,
            scheme=scheme,
            window_hu=window,
            seed=seed,
            plan={
                REAL: _named(chosen),
                SYNTHETIC: drawn,
                "practice": {REAL: _named(practice_real), SYNTHETIC: practice_drawn},
                "sources": {
                    "real": "dataset versions" if frozen else "all reviewed lesions",
                    "versions": [
                        {"name": row.name, "digest": row.digest, "rois": row.rois} for row in frozen
                    ],
                    "likeness": likeness,
                },
            },
            notes=notes,
            design=design,
        )


def _known_to(session: Session, people: Sequence[User]) -> set[uuid.UUID]:
    exposures = [Exposure.of(session, user.id) for user in people]
    return {lesion for one in exposures for lesion in one.own | one.read}


def _all(asked: Asked) -> int:
    return sum(asked.values()) if isinstance(asked, Mapping) else asked


def _named(lesions: Sequence[KnownLesion]) -> list[dict[str, Any]]:
    return [{"lesion": str(item.id), "lesion_class": item.lesion_class} for item in lesions]


def _for_practice(
    lesions: Sequence[KnownLesion],
    taken: Sequence[KnownLesion],
    wanted: dict[str, int],
    rng: np.random.Generator,
) -> list[KnownLesion]:
    """Lesions that the study does not show, of other patients where there are enough."""
    used = {item.id for item in taken}
    patients = {item.patient for item in taken}
    chosen: list[KnownLesion] = []
    for key, count in wanted.items():
        left = [item for item in lesions if item.id not in used and item.lesion_class == key]
        shuffled = [left[int(index)] for index in rng.permutation(len(left))]
        chosen += sorted(shuffled, key=lambda item: item.patient in patients)[:count]
    return chosen


def _replace_near(
    session: Session,
    neighbours: Neighbours,
    planned: list[dict[str, Any]],
    rng: np.random.Generator,
    seeds: set[int],
    draw: Draw,
) -> int:
    """Give synthetic ROIs too like a real one another seed, in place; how many were given one.

    Raises:
        Unreadable: after 8 rounds some are still too near.
    """
    generators = _generators_of(session, planned)
    suspects, replaced = list(planned), 0
    for _ in range(_ROUNDS):
        near: list[dict[str, Any]] = []
        for key, checkpoint in generators.items():
            mine = [item for item in suspects if item["checkpoint"] == key]
            if not mine:
                continue
            drawn = draw(session, checkpoint, [item["seed"] for item in mine])
            wrong = neighbours.too_near(checkpoint, list(drawn))
            near += [item for item, is_near in zip(mine, wrong, strict=True) if is_near]
        if not near:
            break
        replaced += len(near)
        for one in near:
            one["seed"] = _seed(rng, seeds)
        suspects = near
    else:
        raise Unreadable(
            f"{len(suspects)} of the {len(planned)} synthetic images stay too like a real one "
            f"(correlation above {neighbours.known.limit:.3f}) after {_ROUNDS} tries each: a "
            "generator may repeat its training images. Choose another, or do not exclude near ones."
        )
    return replaced


def _generators_of(session: Session, planned: Sequence[dict[str, Any]]) -> dict[str, Checkpoint]:
    """The generators of planned synthetic images, by id, in the order of their first image."""
    found = {}
    for key in dict.fromkeys(item["checkpoint"] for item in planned):
        found[key] = session.get(Checkpoint, uuid.UUID(key))
    return {key: row for key, row in found.items() if row is not None}


def _only_kind(pool: Pool) -> str:
    kinds = [
        kind
        for kind in KINDS
        if all(item.lesions and item.generators for item in pool.counts(kind))
    ]
    if len(kinds) == 1:
        return kinds[0]
    if kinds:
        raise Unreadable(
            f"There are images of several kinds ({', '.join(kinds)}); they are never mixed in one "
            "study, because the kind would tell real from synthetic. Choose one."
        )
    described = "; ".join(
        f"{kind}: "
        + ", ".join(
            f"{item.display} {item.lesions} lesions, {len(item.generators)} generators"
            for item in pool.counts(kind)
        )
        for kind in KINDS
    )
    raise Unreadable(
        "No kind of image has both a reviewed lesion and a generator for every class "
        f"({described}). Review more lesions, or train a generator."
    )


def _generators_by_class(
    session: Session, pool: Pool, kind: str, names: Sequence[str]
) -> dict[str, list[Checkpoint]]:
    chosen = [Checkpoint.require(session, name) for name in dict.fromkeys(names)]
    for row in chosen:
        if row.id not in {item.id for item in pool.generators}:
            raise Unreadable(f"{row.name} is no served generator of the scheme {pool.scheme.name}.")
        if row.training_kind != kind:
            raise Unreadable(
                f"{row.name} was trained on the kind {KINDS[row.training_kind]}, and the real "
                f"images would be of the kind {KINDS[kind]}. Kinds are never mixed in one study: "
                "the kind would tell real from synthetic. Choose a generator of the same kind."
            )
    fitting = [row for row in pool.generators if row.training_kind == kind]
    by_class: dict[str, list[Checkpoint]] = {}
    for item in pool.scheme.classes:
        own = [row for row in chosen or fitting if row.lesion_class == item.key]
        if not own:
            there = ", ".join(f"{row.name} ({row.lesion_class})" for row in fitting) or "none"
            raise Unreadable(
                f"No {'chosen' if chosen else 'served'} generator of the kind {KINDS[kind]} draws "
                f"{item.display}. There are: {there}."
            )
        by_class[item.key] = own if chosen else own[-1:]
    return by_class


def _drawn(
    generators: dict[str, list[Checkpoint]],
    wanted: dict[str, int],
    rng: np.random.Generator,
    seeds: set[int],
) -> list[dict[str, Any]]:
    """Planned synthetic images; the generators of a class take turns, no seed comes twice."""
    drawn = []
    for key, count in wanted.items():
        for number in range(count):
            row = generators[key][number % len(generators[key])]
            drawn.append(
                {"checkpoint": str(row.id), "lesion_class": key, "seed": _seed(rng, seeds)}
            )
    return drawn


def _seed(rng: np.random.Generator, taken: set[int]) -> int:
    """A seed that is not taken; from then on it is."""
    seed = int(rng.integers(2**48))
    while seed in taken:
        seed = int(rng.integers(2**48))
    taken.add(seed)
    return seed


def _notes(images: int, patients: int, withdrawn: int) -> list[str]:
    notes = []
    if withdrawn:
        lesions = "1 lesion" if withdrawn == 1 else f"{withdrawn} lesions"
        notes.append(f"Left out of the chosen dataset versions: {lesions} withdrawn since.")
    if patients != images:
        from_whom = "1 patient" if patients == 1 else f"{patients} patients"
        notes.append(
            f"The {images} real images come from {from_whom}: there are not enough patients "
            "for one each. Images of one patient are alike, so intervals are too narrow."
        )
    return notes


def _said(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {key}" for key, count in counts.items())
