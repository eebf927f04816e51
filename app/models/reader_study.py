"""Reader studies: blinded reading of real and synthetic ROIs, from composing to Unblinding."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from app.db import Base, now
from app.errors import Conflict, Forbidden, NotFound, Unreadable
from app.models.checkpoint import Checkpoint
from app.models.enrolment import Enrolment, order_seed
from app.models.event import Event
from app.models.lesion import Lesion
from app.models.pool import KINDS, Pool, balanced, one_per_patient
from app.models.protocol import CALLED_SYNTHETIC, DISPLAY_PX, Choices, Protocol
from app.models.stimulus import REAL, SYNTHETIC, Picture, Stimulus, stimulus_png
from app.models.trial import Trial
from app.models.unblinding import WORD, Unblinding
from app.models.user import User
from ml.lesion import ROI_SIZE_PX, LesionScheme

MOST_IMAGES = 1000
"""Most images of one source in a study."""

Draw = Callable[[Session, Checkpoint, Sequence[int]], npt.NDArray[np.float32]]
"""How synthetic ROIs are drawn: (session, generator, seeds) → (n, 64, 64) in [−1, 1]."""

_MOST_SEED = 2**53 - 1


class ReaderStudy(Base):
    """A study: composed, then opened (a Protocol freezes it), read, and closed by Unblinding.

    ``plan`` names the sources: ``{"real": [{"lesion", "lesion_class"}], "synthetic":
    [{"checkpoint", "lesion_class", "seed"}]}``. It is never shown.
    """

    __tablename__ = "reader_study"
    __table_args__ = (
        sa.CheckConstraint("kind IN ('phantom','calibrated','uncalibrated')", name="kind"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    title: Mapped[str] = mapped_column(sa.String(200))
    kind: Mapped[str] = mapped_column(sa.String(20))
    scheme_json: Mapped[dict[str, Any]] = mapped_column("scheme")
    window_hu: Mapped[list[float]]
    seed: Mapped[int] = mapped_column(sa.BigInteger)
    plan: Mapped[dict[str, Any]]
    notes: Mapped[list[str]]
    design_json: Mapped[dict[str, Any]] = mapped_column("design", default=dict)
    made_by_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("user.id"))
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)

    made_by: Mapped[User] = relationship()
    protocols: Mapped[list[Protocol]] = relationship(order_by=Protocol.version, viewonly=True)
    unblinding: Mapped[Unblinding | None] = relationship(viewonly=True)

    # -- finding -------------------------------------------------------------------------------

    @staticmethod
    def all(session: Session) -> list[ReaderStudy]:
        """Every study, the newest first."""
        return list(session.scalars(sa.select(ReaderStudy).order_by(ReaderStudy.created_at.desc())))

    @staticmethod
    def require(session: Session, study_id: uuid.UUID, *, to_change: bool = False) -> ReaderStudy:
        """The study, locked for the transaction when it is ``to_change``; else NotFound."""
        query = sa.select(ReaderStudy).where(ReaderStudy.id == study_id)
        study = session.scalars(query.with_for_update() if to_change else query).one_or_none()
        if study is None:
            raise NotFound("There is no such reader study.")
        return study

    # -- questions -----------------------------------------------------------------------------

    @property
    def scheme(self) -> LesionScheme:
        return LesionScheme.from_dict(self.scheme_json)

    @property
    def choices(self) -> Choices:
        """What a reader may answer on every trial."""
        return Choices.of(self.scheme)

    @property
    def protocol(self) -> Protocol | None:
        """The protocol in force; None before the opening."""
        return self.protocols[-1] if self.protocols else None

    @property
    def state(self) -> str:
        """draft, open or unblinded."""
        if self.unblinding is not None:
            return "unblinded"
        return "open" if self.protocols else "draft"

    def planned(self, source: str) -> list[dict[str, Any]]:
        """The planned images of a source, ``real`` or ``synthetic``."""
        images: list[dict[str, Any]] = self.plan[source]
        return images

    @property
    def total(self) -> int:
        """How many images a reader sees."""
        return len(self.planned(REAL)) + len(self.planned(SYNTHETIC))

    def class_mix(self, source: str) -> dict[str, int]:
        """Class key → number of planned images of a source."""
        keys = [item["lesion_class"] for item in self.planned(source)]
        return {key: keys.count(key) for key in self.scheme.keys}

    def generators(self, session: Session) -> list[Checkpoint]:
        """The generators that the synthetic images come from, by name."""
        ids = {uuid.UUID(item["checkpoint"]) for item in self.planned(SYNTHETIC)}
        return list(
            session.scalars(
                sa.select(Checkpoint).where(Checkpoint.id.in_(ids)).order_by(Checkpoint.name)
            )
        )

    def require_unblinded(self) -> Unblinding:
        """The Unblinding; before it nobody of any role sees truth or results.

        Raises:
            Forbidden: not unblinded yet; the look is an Event.
        """
        if self.unblinding is None:
            raise Forbidden(
                "Results and truth are not shown to anyone before the study is unblinded. "
                "Unblind it on its page when the reading is done; that closes it.",
                event="results refused before unblinding",
            )
        return self.unblinding

    # -- composing -----------------------------------------------------------------------------

    @staticmethod
    def compose(
        session: Session,
        by: User,
        *,
        title: str,
        scheme: LesionScheme,
        real: int,
        synthetic: int,
        kind: str | None = None,
        generators: Sequence[str] = (),
        seed: int | None = None,
        without_cases: Collection[uuid.UUID] = (),
    ) -> ReaderStudy:
        """Choose the images of a new study: balanced over the classes, one a patient if possible.

        Args:
            by: a researcher.
            scheme: the lesion classes.
            real, synthetic: how many images of each source.
            kind: a key of ``KINDS``; None: the one with enough data, when it is only one.
            generators: names of served generators; none: the newest of each class.
            seed: everything random of the study comes from it; None: drawn now.
            without_cases: cases whose lesions are not used.

        Raises:
            Unreadable: the form cannot be used, or the data lack what it asks (counts are said).
        """
        title = title.strip()
        if not 1 <= len(title) <= 200:
            raise Unreadable("Give the study a title of 1 to 200 characters.")
        for number, source in ((real, REAL), (synthetic, SYNTHETIC)):
            if not 1 <= number <= MOST_IMAGES:
                raise Unreadable(f"Choose from 1 to {MOST_IMAGES} {source} images, not {number}.")
        seed = secrets.randbelow(_MOST_SEED) if seed is None else seed
        if not 0 <= seed <= _MOST_SEED:
            raise Unreadable(f"Choose a seed from 0 to {_MOST_SEED}, or leave it empty.")
        pool = Pool.of(session, scheme, without_cases)
        kind = kind or _only_kind(pool)
        if kind not in KINDS:
            raise Unreadable(f"Choose the kind of image: {', '.join(KINDS)}.")
        drawing = _generators_by_class(session, pool, kind, generators)
        rng = np.random.default_rng(seed)
        order = [scheme.keys[index] for index in rng.permutation(len(scheme))]
        counts = pool.counts(kind)
        wanted = balanced(real, counts, order)
        if any(wanted[item.lesion_class] > item.lesions for item in counts):
            raise Unreadable(
                f"A study with {real} real images of the kind {KINDS[kind]} needs lesions with a "
                f"known class: {_said(wanted)}. There are "
                f"{_said({item.lesion_class: item.lesions for item in counts})}. Mark and review "
                "more lesions, or choose fewer images."
            )
        chosen = one_per_patient(pool.of_kind(kind), wanted, rng)
        windows = {row.window_hu for rows in drawing.values() for row in rows}
        if len(windows) != 1:
            raise Unreadable(
                "The chosen generators were trained with different windows; their images would "
                "differ in contrast. Choose generators of one window."
            )
        drawn = _drawn(drawing, balanced(synthetic, counts, order), rng)
        study = ReaderStudy(
            title=title,
            kind=kind,
            scheme_json=scheme.to_dict(),
            window_hu=list(windows.pop()),
            seed=seed,
            plan={
                REAL: [
                    {"lesion": str(item.id), "lesion_class": item.lesion_class} for item in chosen
                ],
                SYNTHETIC: drawn,
            },
            notes=_notes(len(chosen), len({item.patient for item in chosen})),
            made_by_id=by.id,
        )
        session.add(study)
        session.flush()
        Event.record(
            session, by.name, "reader study composed", str(study.id), real=real, synthetic=synthetic
        )
        return study

    # -- opening -------------------------------------------------------------------------------

    def pictures(self, session: Session, draw: Draw) -> list[Picture]:
        """Every planned image, rendered; only reads, so it can run before the write lock is held.

        Raises:
            Conflict: a planned lesion was withdrawn since, or has gone.
        """
        low, high = self.window_hu
        pictures = []
        for item in self.planned(REAL):
            lesion = session.get(Lesion, uuid.UUID(item["lesion"]))
            if lesion is None or lesion.withdrawn_at is not None:
                raise Conflict(
                    "A lesion chosen for this study was withdrawn since. Compose the study anew."
                )
            patient = f"{self.id}:{lesion.image.series.case.patient}"
            pictures.append(
                Picture(
                    png=stimulus_png(lesion.roi(session, (low, high)).pixels),
                    truth=REAL,
                    lesion_class=item["lesion_class"],
                    lesion_id=lesion.id,
                    patient=hashlib.sha256(patient.encode()).hexdigest()[:16],
                    phantom=lesion.image.phantom,
                )
            )
        for checkpoint in self.generators(session):
            mine = [i for i in self.planned(SYNTHETIC) if i["checkpoint"] == str(checkpoint.id)]
            rois = draw(session, checkpoint, [item["seed"] for item in mine])
            pictures += [
                Picture(
                    png=stimulus_png(roi),
                    truth=SYNTHETIC,
                    lesion_class=item["lesion_class"],
                    checkpoint_id=checkpoint.id,
                    seed=item["seed"],
                    phantom=checkpoint.training_kind == "phantom",
                )
                for item, roi in zip(mine, rois, strict=True)
            ]
        return pictures

    def open(self, session: Session, by: User, pictures: Sequence[Picture]) -> Protocol:
        """Freeze the study: keep its stimuli, write the protocol, give every reader their order.

        Args:
            pictures: from ``pictures`` of this study.

        Raises:
            Conflict: it is open already, or its images are not fit for blinded reading.
        """
        if self.protocols:
            raise Conflict("This reader study was opened before.")
        if len(pictures) != self.total:
            raise Conflict(f"{len(pictures)} images were rendered for {self.total} planned ones.")
        stimuli = Stimulus.keep(session, self.id, pictures)
        protocol = Protocol.freeze(session, self.id, self._content(stimuli), by)
        for enrolment in Enrolment.of_study(session, self.id):
            Trial.draw_order(session, enrolment, stimuli)
        session.expire(self, ["protocols"])
        Event.record(
            session, by.name, "reader study opened", str(self.id), protocol=protocol.digest
        )
        return protocol

    def _content(self, stimuli: Sequence[Stimulus]) -> dict[str, Any]:
        return {
            "format": 1,
            "study": str(self.id),
            "title": self.title,
            "scheme": self.scheme_json,
            "kind": self.kind,
            "window_hu": self.window_hu,
            "images": [
                {
                    "sha256": stimulus.pixels_digest,
                    "truth": stimulus.truth,
                    "lesion_class": stimulus.lesion_class,
                    "patient": stimulus.patient,
                    "checkpoint": str(stimulus.checkpoint_id) if stimulus.checkpoint_id else None,
                    "seed": stimulus.seed,
                }
                for stimulus in stimuli
            ],
            "order": {
                "seed": self.seed,
                "rule": "reader k sees the images, sorted by sha256, in the permutation that "
                "numpy's default_rng draws from the first 63 bits of SHA-256('seed:order:k')",
            },
            "questions": self.choices.to_dict(),
            "display": {
                "encoding": "8-bit grey PNG, uncompressed",
                "roi_px": ROI_SIZE_PX,
                "shown_css_px": DISPLAY_PX,
                "interpolation": "smooth",
            },
            "analysis": {
                "called_synthetic_from_rating": CALLED_SYNTHETIC,
                "per_reader": ["accuracy", "sensitivity", "specificity", "class accuracy"],
                "interval": "Wilson 95 %",
            },
        }

    # -- readers -------------------------------------------------------------------------------

    def enrol(self, session: Session, reader: User, by: User) -> Enrolment:
        """Give a person a desk of their own, and their order if the study is open.

        Raises:
            Conflict: enrolled already, the account is disabled, or the study is closed.
        """
        if self.unblinding is not None:
            raise Conflict("The study was unblinded, which closed it; nobody can be enrolled now.")
        if reader.disabled_at is not None:
            raise Conflict(f"The account {reader.name} is disabled and cannot read.")
        enrolled = Enrolment.of_study(session, self.id)
        if any(item.reader_id == reader.id for item in enrolled):
            raise Conflict(f"{reader.name} is enrolled in this study already.")
        number = len(enrolled) + 1
        enrolment = Enrolment(
            study_id=self.id,
            reader_id=reader.id,
            number=number,
            order_seed=order_seed(self.seed, number),
            enrolled_by_id=by.id,
        )
        session.add(enrolment)
        session.flush()
        if self.protocols:
            Trial.draw_order(session, enrolment, Stimulus.of_study(session, self.id))
        Event.record(session, by.name, "reader enrolled", str(self.id), reader=reader.name)
        return enrolment

    # -- unblinding ----------------------------------------------------------------------------

    def unblind(self, session: Session, by: User, *, reason: str, typed: str) -> Unblinding:
        """Close the study and let truth be shown from now on.

        Raises:
            Conflict: not open, or unblinded before.
            Unreadable: no reason, or the word was not typed.
        """
        if not self.protocols:
            raise Conflict("The study was never opened; there is nothing to unblind.")
        if self.unblinding is not None:
            raise Conflict("The study was unblinded before.")
        if not 5 <= len(reason.strip()) <= 2000:
            raise Unreadable("Say why the study is unblinded now, in 5 to 2000 characters.")
        if typed.strip() != WORD:
            raise Unreadable(f"Type {WORD} exactly to unblind the study; it cannot be taken back.")
        # an answer that is being stored locks its enrolment: it is in before, or refused after
        session.execute(
            sa.select(Enrolment.id).where(Enrolment.study_id == self.id).with_for_update()
        )
        unblinding = Unblinding(study_id=self.id, by_id=by.id, reason=reason.strip())
        session.add(unblinding)
        session.flush()
        session.expire(self, ["unblinding"])
        Event.record(session, by.name, "reader study unblinded", str(self.id))
        return unblinding


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
    generators: dict[str, list[Checkpoint]], wanted: dict[str, int], rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Planned synthetic images; the generators of a class take turns, no seed comes twice."""
    seeds: set[int] = set()
    drawn = []
    for key, count in wanted.items():
        for number in range(count):
            seed = int(rng.integers(2**48))
            while seed in seeds:
                seed = int(rng.integers(2**48))
            seeds.add(seed)
            row = generators[key][number % len(generators[key])]
            drawn.append({"checkpoint": str(row.id), "lesion_class": key, "seed": seed})
    return drawn


def _notes(images: int, patients: int) -> list[str]:
    if patients == images:
        return []
    from_whom = "1 patient" if patients == 1 else f"{patients} patients"
    return [
        f"The {images} real images come from {from_whom}: there are not enough patients "
        "for one each. Images of one patient are alike, so intervals are too narrow."
    ]


def _said(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {key}" for key, count in counts.items())
