"""What there is for a study: lesions of one kind with a known class, and who draws each class."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from app.errors import Unreadable
from app.models.checkpoint import Checkpoint
from app.models.reader_studies.exposure import Exposure
from app.models.reader_studies.planned import FROZEN, REVIEWED, Compared, Sources, SourceVersion
from app.models.reader_studies.wish import Wish
from app.models.runs.dataset import DatasetVersion
from app.models.runs.known_lesions import KINDS, ClassCount, KnownLesion, KnownLesions
from ml.images.ct_slice import ImageKind


@dataclass(frozen=True)
class Available:
    """The lesions and generators that a wish can be filled from.

    Attributes:
        kind: of every image, real or synthetic.
        lesions: those of the kind, but for what the wish leaves out.
        left_out: of how many lesions who knows how many, in sentences.
        withdrawn: how many frozen lesions were withdrawn since, and so are not among them.
        drawing: class key → the generators that draw it, at least one.
        window_hu: the window that all of these were trained with.
        chosen: class key → synthetic images that are to be shown, as generator and seed.
        versions: the dataset versions that the lesions come from; none: all reviewed ones.
    """

    kind: ImageKind
    lesions: tuple[KnownLesion, ...]
    counts: tuple[ClassCount, ...]
    withdrawn: int
    drawing: Mapping[str, Sequence[Checkpoint]]
    window_hu: tuple[float, float]
    versions: tuple[DatasetVersion, ...]
    left_out: tuple[str, ...] = ()
    chosen: Mapping[str, Sequence[tuple[Checkpoint, int]]] = field(default_factory=dict)

    @classmethod
    def of(cls, session: Session, wish: Wish) -> Available:
        """What the database holds for a checked wish. Only reads.

        Raises:
            Unreadable: no kind, or several, have what is needed; a generator that is not served, is
                of another kind, or whose images would differ from the real ones in contrast.
            NotFound: a version or generator that there is not.
        """
        versions = DatasetVersion.chosen(session, wish.versions)
        frozen = DatasetVersion.joint_classes(session, versions, wish.scheme) if versions else None
        known = [(user.name, Exposure.of(session, user.id)) for user in wish.without_lesions_of]
        without = {lesion for _, one in known for lesion in _left_out(one, wish)}
        pool = KnownLesions.of(session, wish.scheme, wish.without_cases, without, frozen)
        shows_real = wish.design.task.shows_real
        kind = ImageKind(wish.kind) if wish.kind else _only_kind(pool, needs_real=shows_real)
        drawing = _generators_by_class(session, pool, kind, wish.generators, several=not shows_real)
        by_hand = _fit(session, pool, kind, wish.chosen)
        return cls(
            kind=kind,
            lesions=pool.of_kind(kind),
            counts=tuple(pool.counts(kind)),
            withdrawn=pool.withdrawn,
            drawing=drawing,
            window_hu=_one_window([*(row for rows in drawing.values() for row in rows), *by_hand]),
            versions=tuple(versions),
            left_out=tuple(_told(session, wish, kind, known, frozen)),
            chosen={
                key: [
                    (row, seed)
                    for row in by_hand
                    if row.lesion_class == key
                    for seed in wish.chosen[row.name]
                ]
                for key in wish.scheme.keys
            },
        )

    @property
    def n_chosen(self) -> int:
        """How many synthetic images were chosen by hand."""
        return sum(map(len, self.chosen.values()))

    def sources(self, likeness: Compared | None) -> Sources:
        """Where the images come from, as a plan keeps it."""
        return Sources(
            FROZEN if self.versions else REVIEWED,
            tuple(SourceVersion(row.name, row.digest, row.rois) for row in self.versions),
            likeness,
            self.n_chosen,
        )


def _left_out(known: Exposure, wish: Wish) -> frozenset[uuid.UUID]:
    """The lesions that are not used because a named reader knows them."""
    return known.own | known.read | (known.seen if wish.design.exclude_seen else frozenset())


def _told(
    session: Session,
    wish: Wish,
    kind: ImageKind,
    known: Sequence[tuple[str, Exposure]],
    frozen: Mapping[uuid.UUID, str] | None,
) -> list[str]:
    """What the named readers know, but for what they read or are to read: that number is told to
    nobody, since it can say how many images of an open study are real."""
    if not known:
        return []
    every = KnownLesions.of(session, wish.scheme, wish.without_cases, (), frozen).of_kind(kind)
    ids = {item.id for item in every}
    became = "left out" if wish.design.exclude_seen else "which may be shown, as chosen"
    said = []
    for name, one in known:
        own, seen = len(ids & one.own), len(ids & one.seen)
        if own:
            said.append(f"Marked or reviewed by {name}: {own} of {len(ids)} lesions, left out.")
        if seen:
            said.append(
                f"Seen by {name} in the viewer, a data set or results: {seen} of {len(ids)} "
                f"lesions, {became}."
            )
    return said


def _only_kind(pool: KnownLesions, *, needs_real: bool) -> ImageKind:
    kinds = [
        kind
        for kind in ImageKind
        if all((item.lesions or not needs_real) and item.generators for item in pool.counts(kind))
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
        for kind in ImageKind
    )
    if not needs_real:
        raise Unreadable(f"No kind of image has a generator for every class ({described}).")
    raise Unreadable(
        "No kind of image has both a reviewed lesion and a generator for every class "
        f"({described}). Review more lesions, or train a generator."
    )


def _generators_by_class(
    session: Session, pool: KnownLesions, kind: ImageKind, names: Sequence[str], *, several: bool
) -> dict[str, list[Checkpoint]]:
    """Those chosen, else the newest of each class; of ``several`` the newest of each generator."""
    chosen = _fit(session, pool, kind, names)
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
        if several:
            by_class[item.key] = _apart(own, item.display)
    return by_class


def _fit(
    session: Session, pool: KnownLesions, kind: ImageKind, names: Iterable[str]
) -> list[Checkpoint]:
    """The generators of these names, each once.

    Raises:
        Unreadable: one is not served, or is of another kind.
        NotFound: there is none of a name.
    """
    found = [Checkpoint.require(session, name) for name in dict.fromkeys(names)]
    for row in found:
        served = row.id in {item.id for item in pool.generators}
        if not served or row.lesion_class not in pool.scheme.keys:
            raise Unreadable(f"{row.name} is no served generator of the scheme {pool.scheme.name}.")
        if row.training_kind != kind:
            raise Unreadable(
                f"{row.name} was trained on the kind {KINDS[row.training_kind]}, and the real "
                f"images would be of the kind {KINDS[kind]}. Kinds are never mixed in one study: "
                "the kind would tell real from synthetic. Choose a generator of the same kind."
            )
    return found


def _apart(rows: Sequence[Checkpoint], display: str) -> list[Checkpoint]:
    """The newest checkpoint of each generator, by name; two at least."""
    newest = {row.generator: row for row in rows}
    if len(newest) < 2:
        raise Unreadable(
            f"A preference is between two generators, and only {next(iter(newest))} draws "
            f"{display}. Choose two for every class, or serve another one."
        )
    return [newest[name] for name in sorted(newest)]


def _one_window(generators: Sequence[Checkpoint]) -> tuple[float, float]:
    """The window of all of them: nothing but the picture may tell real from synthetic."""
    ranged = [row.name for row in generators if row.grey_range]
    if ranged:
        raise Unreadable(
            f"{ranged[0]} was trained with a grey range of its own, and real pictures are "
            "shown over the full one: contrast would give the images away. Choose a generator "
            "without one."
        )
    windows = {row.window_hu for row in generators}
    if len(windows) != 1:
        raise Unreadable(
            "The chosen generators were trained with different windows; their images would "
            "differ in contrast. Choose generators of one window."
        )
    return windows.pop()
