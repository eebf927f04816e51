"""Reader studies: blinded reading of real and synthetic ROIs, from composing to Unblinding."""

from __future__ import annotations

import hashlib
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column, object_session, relationship

from app.db import Base, Word, now
from app.errors import Conflict, NotFound, Unreadable
from app.models.cases.lesion import Lesion
from app.models.checkpoint import Checkpoint
from app.models.ground.event import Event
from app.models.people.ownership import Owned
from app.models.people.user import User
from app.models.reader_studies.audit import Audited, LeakAudit
from app.models.reader_studies.composition import Composition, Draw
from app.models.reader_studies.conduct import Conduct
from app.models.reader_studies.content import Display, FrozenImage, Order, ProtocolContent
from app.models.reader_studies.debriefing import Debriefing, Remark
from app.models.reader_studies.design import DISPLAY_PX, Design, SecondImages, telling
from app.models.reader_studies.enrolment import Enrolment, order_seed
from app.models.reader_studies.exposure import Exposure, same_findings
from app.models.reader_studies.halves import first_part, halves, kinds_of_halves
from app.models.reader_studies.intent import Primary
from app.models.reader_studies.look import Look
from app.models.reader_studies.pairs import contests, paired
from app.models.reader_studies.planned import (
    Plan,
    PlannedDrawing,
    PlannedLesion,
    Sources,
    class_mix,
)
from app.models.reader_studies.protocol import Protocol
from app.models.reader_studies.questions import CALLED_SYNTHETIC, Choices
from app.models.reader_studies.stimulus import Picture, Source, Stimulus, stimulus_png
from app.models.reader_studies.stored import Json
from app.models.reader_studies.task import Part, Task
from app.models.reader_studies.trial import Shown, Trial, chosen_to_repeat
from app.models.reader_studies.unblinding import SHARED_WORD, WORD, Unblinding
from app.models.reader_studies.wish import Wish
from app.models.reader_studies.withdrawal import Withdrawal
from ml.ground import seeds
from ml.images.ct_slice import ImageKind
from ml.images.regrid import redrawn
from ml.lesion import ROI_SIZE_PX, LesionScheme
from ml.readers.hypothesis import choices

DELETE_WORD = "DELETE"
"""What must be typed to delete a draft."""


@dataclass(frozen=True)
class Sharing:
    """An open study that shows ``images`` of another one."""

    id: uuid.UUID
    title: str
    images: int

    @property
    def words(self) -> str:
        """Which, and how many."""
        return f"“{self.title}”, {self.images} {'image' if self.images == 1 else 'images'}"


class StudyState(StrEnum):
    """How far a study is: composed, opened for reading, or closed by its Unblinding."""

    DRAFT = "draft"
    OPEN = "open"
    UNBLINDED = "unblinded"


_DRAWN = (
    "in the permutation that numpy's default_rng draws from the first 63 bits of "
    "SHA-256('seed:order:k'); repeats and practice are drawn from the same generator after it "
    "(app.models.reader_studies.trial), the repeated images from SHA-256('seed:repeats')"
)
_ORDER = f"reader k sees the images, sorted by sha256, {_DRAWN}"
_ORDER_OF_PAIRS = (
    f"reader k sees the pairs as they are listed, {_DRAWN}; then for which half of the pairs the "
    "first image stands on the right; a repeated pair has its sides changed"
)


@dataclass(frozen=True)
class _Frozen:
    """What every answer and picture needs of a protocol: how it is read, and of how many images."""

    design: Design
    images: int
    practice: int
    first_part: int


_FROZEN: dict[uuid.UUID, _Frozen] = {}
"""First protocol → what is in it. A protocol is never changed, so what was read once holds."""
_MOST_FROZEN = 500


class ReaderStudy(Owned, Base):
    """A study: composed, then opened (a Protocol freezes it), read, and closed by Unblinding.

    ``plan`` names its images; only their sources are ever shown. ``design_json`` says how it is
    read; from the opening on the protocol does.
    """

    noun = "reader study"
    __tablename__ = "reader_study"
    __table_args__ = (
        sa.CheckConstraint("kind IN ('phantom','calibrated','uncalibrated')", name="kind"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    title: Mapped[str] = mapped_column(sa.String(200))
    kind: Mapped[ImageKind] = mapped_column(Word(ImageKind, 20))
    scheme_json: Mapped[Json] = mapped_column("scheme")
    window_hu: Mapped[list[float]]
    seed: Mapped[int] = mapped_column(sa.BigInteger)
    typed_seed: Mapped[int | None] = mapped_column(sa.BigInteger)
    # as long as the protocol's content
    plan_json: Mapped[Json] = mapped_column("plan", deferred=True)
    notes: Mapped[list[str]]
    design_json: Mapped[Json] = mapped_column("design", default=dict)
    # beside the design, because every page of a reader's asks for it
    unaware: Mapped[bool] = mapped_column(default=False)
    made_by_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("user.id"))
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)

    made_by: Mapped[User] = relationship(foreign_keys=[made_by_id])
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
        """The classes of its lesions, as they were when it was composed."""
        return LesionScheme.from_dict(self.scheme_json)

    @property
    def choices(self) -> Choices:
        """What a reader may answer on any trial."""
        return self.choices_of(Part.WHOLE)

    def choices_of(self, part: Part) -> Choices:
        """What a reader may answer on every trial of a part."""
        design = self.design
        return Choices.of(
            self.scheme,
            task=design.task,
            part=part,
            lesion_class=design.lesion_class,
            confidence=design.class_confidence,
            reasons=design.reasons,
            graded=design.graded,
        )

    @property
    def design(self) -> Design:
        """How the study is read: what the first protocol froze, before it what was composed."""
        frozen = self._frozen
        return Design.from_json(self.design_json) if frozen is None else frozen.design

    @property
    def _frozen(self) -> _Frozen | None:
        if not self.protocols:
            return None
        first = self.protocols[0]
        if first.id not in _FROZEN:
            if len(_FROZEN) >= _MOST_FROZEN:
                _FROZEN.clear()
            content = first.content
            _FROZEN[first.id] = _Frozen(
                content.design,
                len(content.images),
                len(content.practice),
                first_part([(one.truth, one.lesion_class) for one in content.images]),
            )
        return _FROZEN[first.id]

    @property
    def protocol(self) -> Protocol | None:
        """The protocol in force; None before the opening."""
        return self.protocols[-1] if self.protocols else None

    @property
    def state(self) -> StudyState:
        """How far it is."""
        if self.unblinding is not None:
            return StudyState.UNBLINDED
        return StudyState.OPEN if self.protocols else StudyState.DRAFT

    @property
    def plan(self) -> Plan:
        """The images that it was composed of; Damaged when what is stored is no plan."""
        return Plan.from_json(self.plan_json)

    @property
    def images(self) -> int:
        """How many images the study has, without its practice."""
        frozen = self._frozen
        return len(self.plan.images) if frozen is None else frozen.images

    @property
    def practice_images(self) -> int:
        """How many practice images it has."""
        frozen = self._frozen
        return len(self.plan.practice) if frozen is None else frozen.practice

    @property
    def total(self) -> int:
        """How many images or pairs are read, without practice and repeats."""
        return self.images // self._images_shown

    @property
    def contests(self) -> int:
        """How many contests the pairs are shared by: one, but of preferences one of every two."""
        if self.design.task.shows_real:
            return 1
        drawings = {row.checkpoint for row in self.plan.images.synthetic}
        session = object_session(self)
        rows = [session.get(Checkpoint, key) for key in drawings] if session else []
        count = len({row.generator for row in rows if row is not None})
        return max(1, count * (count - 1) // 2)

    @property
    def practice_total(self) -> int:
        """How many of them are practice."""
        return self.practice_images // self._images_shown

    @property
    def _images_shown(self) -> int:
        """How many images a trial shows."""
        return 2 if self.design.task.is_paired else 1

    @property
    def trials(self) -> int:
        """How many trials a reader has: practice, images or pairs, and repeats; of both parts."""
        if self.design.unaware:
            return sum(self.parts.values())
        return self.practice_total + self.total + self.design.repeats

    @property
    def parts(self) -> dict[Part, int]:
        """Part → how many trials it has, in their order."""
        design = self.design
        if not design.unaware:
            return {Part.WHOLE: self.practice_total + self.total + design.repeats}
        if design.second_images is SecondImages.SAME:
            return {Part.UNAWARE: self.total, Part.TOLD: self.total}
        frozen = self._frozen
        first = first_part(self.plan.images.kinds) if frozen is None else frozen.first_part
        return {Part.UNAWARE: first, Part.TOLD: self.total - first}

    def kinds_of_parts(self) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """Source and class of the images of both parts of an unaware study."""
        kinds = self.plan.images.kinds
        same = self.design.second_images is SecondImages.SAME
        return (kinds, kinds) if same else kinds_of_halves(kinds)

    def before(self, part: Part) -> int:
        """How many trials come before those of a part."""
        found = 0
        for one, count in self.parts.items():
            if one is part:
                return found
            found += count
        raise ValueError(f"This study has no part {part}.")

    @property
    def sources(self) -> Sources:
        """Where the real images come from, and what synthetic ones were compared with."""
        return self.plan.sources

    def class_mix(self, source: Source | str) -> dict[str, int]:
        """Class key → number of planned images of a source."""
        images = self.plan.images
        of = images.real if Source(source) == Source.REAL else images.synthetic
        return class_mix(of, self.scheme.keys)

    def generators(self, session: Session) -> list[Checkpoint]:
        """The generators that the synthetic images come from, by name."""
        ids = {item.checkpoint for item in self.plan.every.synthetic}
        return list(
            session.scalars(
                sa.select(Checkpoint).where(Checkpoint.id.in_(ids)).order_by(Checkpoint.name)
            )
        )

    def drawings(self, session: Session) -> dict[Checkpoint, int]:
        """How many of its images, practice too, each generator draws."""
        numbers = Counter(item.checkpoint for item in self.plan.every.synthetic)
        return {row: numbers[row.id] for row in self.generators(session)}

    def generator_names(self, session: Session) -> tuple[str, ...]:
        """What they are called without the classes that they draw, each once."""
        return tuple(dict.fromkeys(row.generator for row in self.generators(session)))

    # -- composing -----------------------------------------------------------------------------

    @staticmethod
    def compose(session: Session, by: User, wish: Wish, draw: Draw | None = None) -> ReaderStudy:
        """A new study by a researcher; refused as `Composition.choose` says."""
        return ReaderStudy.keep(session, by, Composition.choose(session, wish, draw))

    @staticmethod
    def keep(session: Session, by: User, chosen: Composition) -> ReaderStudy:
        """Store a composition as a draft."""
        study = ReaderStudy(
            **({} if chosen.study_id is None else {"id": chosen.study_id}),
            title=chosen.title,
            kind=chosen.kind,
            scheme_json=chosen.scheme.to_dict(),
            window_hu=list(chosen.window_hu),
            seed=chosen.seed,
            typed_seed=chosen.typed_seed,
            plan_json=chosen.plan.to_json(),
            notes=chosen.notes,
            design_json=chosen.design.to_json(),
            unaware=chosen.design.unaware,
            made_by_id=by.id,
            owner_id=by.id,
        )
        session.add(study)
        session.flush()
        Event.record(
            session,
            by.name,
            "reader study composed",
            str(study.id),
            real=len(chosen.plan.images.real),
            synthetic=len(chosen.plan.images.synthetic),
        )
        return study

    def discard(self, session: Session, by: User, *, typed: str) -> None:
        """Delete a draft with its enrolments; nobody has seen any of its images.

        Raises:
            Forbidden: it is somebody else's.
            Conflict: it was opened; an opened study stays.
            Unreadable: the word was not typed.
        """
        self.refuse_stranger(by)
        if self.protocols:
            raise Conflict("The study was opened; its record stays. Unblind it to close it.")
        if typed.strip() != DELETE_WORD:
            raise Unreadable(f"Type {DELETE_WORD} exactly to delete the draft.").about("typed")
        ids = sa.select(Enrolment.id).where(Enrolment.study_id == self.id)
        session.execute(sa.delete(Withdrawal).where(Withdrawal.enrolment_id.in_(ids)))
        session.execute(sa.delete(Conduct).where(Conduct.enrolment_id.in_(ids)))
        session.execute(sa.delete(Debriefing).where(Debriefing.enrolment_id.in_(ids)))
        session.execute(sa.delete(Remark).where(Remark.enrolment_id.in_(ids)))
        session.execute(sa.delete(Enrolment).where(Enrolment.study_id == self.id))
        session.execute(sa.delete(LeakAudit).where(LeakAudit.study_id == self.id))
        session.execute(sa.delete(ReaderStudy).where(ReaderStudy.id == self.id))
        session.expunge(self)
        Event.record(session, by.name, "reader study deleted", str(self.id), title=self.title)

    # -- opening -------------------------------------------------------------------------------

    def pictures(self, session: Session, draw: Draw) -> list[Picture]:
        """Every planned image, rendered; only reads, so it can run before the write lock is held.

        Raises:
            Conflict: a planned lesion was withdrawn since, or has gone.
        """
        plan = self.plan
        return [
            picture
            for planned, practice in ((plan.images, False), (plan.practice, True))
            for picture in (
                *self._cut(session, planned.real, practice),
                *self._drawn(session, draw, planned.synthetic, practice),
            )
        ]

    def _cut(
        self, session: Session, planned: Sequence[PlannedLesion], practice: bool
    ) -> list[Picture]:
        low, high = self.window_hu
        pictures = []
        for item in planned:
            lesion = session.get(Lesion, item.lesion)
            if lesion is None or lesion.withdrawn_at is not None:
                raise Conflict(
                    "A lesion chosen for this study was withdrawn since. Compose the study anew."
                )
            patient = f"{self.id}:{lesion.image.series.case.patient}"
            pictures.append(
                Picture(
                    png=self._as_shown(lesion.roi(session, (low, high)).pixels),
                    truth=Source.REAL,
                    lesion_class=item.lesion_class,
                    lesion_id=lesion.id,
                    patient=hashlib.sha256(patient.encode()).hexdigest()[:16],
                    phantom=lesion.image.phantom,
                    practice=practice,
                )
            )
        return pictures

    def _drawn(
        self, session: Session, draw: Draw, planned: Sequence[PlannedDrawing], practice: bool
    ) -> list[Picture]:
        pictures = []
        for checkpoint in self.generators(session):
            mine = [item for item in planned if item.checkpoint == checkpoint.id]
            if not mine:
                continue
            rois = draw(session, checkpoint, [item.seed for item in mine])
            pictures += [
                Picture(
                    png=self._as_shown(roi),
                    truth=Source.SYNTHETIC,
                    lesion_class=item.lesion_class,
                    checkpoint_id=checkpoint.id,
                    seed=item.seed,
                    phantom=checkpoint.training_kind == "phantom",
                    practice=practice,
                )
                for item, roi in zip(mine, rois, strict=True)
            ]
        return pictures

    def _as_shown(self, pixels: npt.NDArray[np.float32]) -> bytes:
        """The picture that readers get of an ROI, whichever source it has.

        Where it is redrawn, its grid depends on the picture and on the study's seed, which is
        nobody's before Unblinding, and on nothing that tells its source.
        """
        png = stimulus_png(pixels)
        if not self.design.redrawn:
            return png
        grid = seeds.of_text(f"{self.seed}:redrawn:{hashlib.sha256(png).hexdigest()}")
        return stimulus_png(redrawn(pixels, grid))

    def require_draft(self) -> None:
        """Conflict when the study was opened: its images are frozen, with their audit."""
        if self.protocols:
            raise Conflict("This reader study was opened before; its images and audit are frozen.")

    def audit(
        self, session: Session, by: User, pictures: Sequence[Picture], audited: Audited
    ) -> LeakAudit:
        """Keep the audit of a draft's pictures.

        Raises:
            Forbidden: it is somebody else's.
            Conflict: it was opened.
        """
        self.refuse_stranger(by)
        self.require_draft()
        row = LeakAudit.of(session, self.id, pictures, by, audited)
        Event.record(session, by.name, "leak audit", str(self.id), verdict=row.verdict)
        return row

    def open(self, session: Session, by: User, pictures: Sequence[Picture]) -> Protocol:
        """Freeze the study: keep its stimuli, write the protocol, give every reader their order.

        Args:
            pictures: from ``pictures`` of this study.

        Raises:
            Forbidden: it is somebody else's, or ``by`` reads another study blind, which what is
                refused here could tell of.
            Conflict: it is open already, its images are not fit for blinded reading, an enrolled
                reader knows one of its images already, or one of them was deleted since.
        """
        self.refuse_stranger(by)
        if self.protocols:
            raise Conflict("This reader study was opened before.")
        Lesion.refuse_gone(
            session,
            {one.lesion_id for one in pictures if one.lesion_id is not None},
            "The study was not opened; compose another one without them.",
        )
        planned = self.images + self.practice_images
        if len(pictures) != planned:
            raise Conflict(f"{len(pictures)} images were rendered for {planned} planned ones.")
        for enrolment in Enrolment.of_study(session, self.id):
            self._refuse_known(session, enrolment.reader, by)
        stimuli = Stimulus.keep(session, self.id, pictures)
        audit = LeakAudit.of(session, self.id, pictures, by)
        if audit.blocks:
            raise Conflict(f"The leak audit is red, so the study cannot open. {audit.details.text}")
        protocol = Protocol.freeze(session, self.id, self._content(stimuli, audit).to_json(), by)
        session.expire(self, ["protocols"])
        for enrolment in Enrolment.of_study(session, self.id):
            self._draw_order(session, enrolment)
        Event.record(
            session, by.name, "reader study opened", str(self.id), protocol=protocol.digest
        )
        return protocol

    def _draw_order(self, session: Session, enrolment: Enrolment) -> None:
        design = self.design
        if design.unaware:
            Trial.draw_parts(session, enrolment, *self._parts_shown(session))
            return
        shown = self._shown(session, practice=False)
        Trial.draw_order(
            session,
            enrolment,
            shown,
            self._shown(session, practice=True),
            chosen_to_repeat([one[0] for one in shown], design.repeats, self.seed),
            design.repeat_distance,
        )

    def _parts_shown(self, session: Session) -> tuple[list[Stimulus], list[Stimulus]]:
        """What both parts of an unaware study show."""
        stimuli = Stimulus.of_study(session, self.id)
        if self.design.second_images is SecondImages.SAME:
            return stimuli, stimuli
        return halves(stimuli)

    def _shown(self, session: Session, *, practice: bool) -> list[Shown]:
        """What its trials show, ordered by digest: each picture, or the pairs of the protocol."""
        stimuli = Stimulus.of_study(session, self.id, practice=practice)
        if not self.design.task.is_paired:
            return [(one,) for one in stimuli]
        known = {one.pixels_digest: one for one in stimuli}
        pairs = self.protocols[0].content.pairs
        return [(known[first], known[second]) for first, second in pairs if first in known]

    def _content(self, stimuli: Sequence[Stimulus], audit: LeakAudit) -> ProtocolContent:
        design = self.design

        def images(practice: bool) -> tuple[FrozenImage, ...]:
            return tuple(
                FrozenImage(
                    sha256=stimulus.pixels_digest,
                    truth=stimulus.truth,
                    lesion_class=stimulus.lesion_class,
                    patient=stimulus.patient,
                    checkpoint=stimulus.checkpoint_id,
                    seed=stimulus.seed,
                )
                for stimulus in stimuli
                if stimulus.practice is practice
            )

        pairs = [
            pair
            for practice in (False, True)
            for pair in paired(design.task, [one for one in stimuli if one.practice is practice])
        ]
        if design.task is Task.PREFERENCE:
            pairs = contests(self.plan.images.synthetic, stimuli)
        low, high = self.window_hu
        return ProtocolContent(
            study=self.id,
            title=self.title,
            scheme=self.scheme,
            kind=self.kind,
            window_hu=(low, high),
            sources=self.sources,
            images=images(practice=False),
            practice=images(practice=True),
            pairs=tuple((one.pixels_digest, other.pixels_digest) for one, other in pairs),
            order=Order(self.seed, self._whence + (_ORDER_OF_PAIRS if pairs else _ORDER)),
            questions=self.choices,
            called_synthetic_from_rating=CALLED_SYNTHETIC,
            design=design,
            display=Display(
                encoding="8-bit grey PNG, uncompressed",
                roi_px=ROI_SIZE_PX,
                shown_css_px=None if design.size_mm else DISPLAY_PX,
                shown_mm=design.size_mm,
                interpolation=design.interpolation,
            ),
            audit=audit.record,
        )

    @property
    def _whence(self) -> str:
        """Where the seed of its order comes from, where it was not drawn."""
        if self.typed_seed is None:
            return ""
        return (
            f"the seed is the first 53 bits of HMAC-SHA-256 of 'seed of the reader study "
            f"{self.id}: {self.typed_seed}' under the installation's key; "
        )

    def amend(self, session: Session, by: User, *, what: str, text: str, reason: str) -> Protocol:
        """Write a further version of the protocol that changes nothing readers see.

        After the first answer it changes nothing of the primary analysis either (`Versions`).

        Raises:
            Forbidden: it is somebody else's.
            Conflict: not open.
            Unreadable: as `Protocol.amended`.
        """
        self.refuse_stranger(by)
        if self.state is not StudyState.OPEN or self.protocol is None:
            raise Conflict("Only an open study can be amended: after Unblinding it is closed.")
        if what == "primary":
            self._refuse_unknown(session, Primary.typed(text))
        # an answer that is being stored locks its enrolment: it is counted, or given under the
        # new version
        session.execute(
            sa.select(Enrolment.id).where(Enrolment.study_id == self.id).with_for_update()
        )
        amended = self.protocol.amended(session, by, what=what, text=text, reason=reason)
        session.expire(self, ["protocols"])
        Event.record(
            session, by.name, "protocol amended", str(self.id),
            version=amended.version, protocol=amended.digest, answers=amended.answers,
        )  # fmt: skip
        return amended

    def _refuse_unknown(self, session: Session, primary: Primary) -> None:
        """Unreadable where a hypothesis is of generators that draw none of the images."""
        if primary.key not in {
            one.key for one in choices(self.generator_names(session), self.design.measure)
        }:
            raise Unreadable("There are no images in the study for this primary hypothesis.").about(
                "text"
            )

    # -- readers -------------------------------------------------------------------------------

    def enrol(self, session: Session, reader: User, by: User) -> Enrolment:
        """Give a person a desk of their own, and their order if the study is open.

        Raises:
            Forbidden: the study is somebody else's, or ``by`` reads another one blind, which what
                is refused here could tell of.
            Conflict: enrolled already, the account is disabled, the study is closed, or it
                shows an image that the person knows already.
        """
        self.refuse_stranger(by)
        if self.unblinding is not None:
            raise Conflict("The study was unblinded, which closed it; nobody can be enrolled now.")
        if reader.disabled_at is not None:
            raise Conflict(f"The account {reader.name} is disabled and cannot read.")
        enrolled = Enrolment.of_study(session, self.id)
        if any(item.reader_id == reader.id for item in enrolled):
            raise Conflict(f"{reader.name} is enrolled in this study already.")
        if self.unaware:
            self._refuse_aware(session, reader)
        elif Enrolment.keeps_unaware(session, reader):
            raise Conflict(
                f"{reader.name} reads a study in which they are not told yet that some images are "
                "synthetic, and this one would tell them. Enrol them when they were debriefed."
            )
        self._refuse_known(session, reader, by)
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
            self._draw_order(session, enrolment)
        # what they had seen by now, where the protocol lets them read it all the same
        seen = {} if self.design.exclude_seen else {"seen": self.seen_by_reader(session, reader)}
        Event.record(session, by.name, "reader enrolled", str(self.id), reader=reader.name, **seen)
        return enrolment

    def seen_by_reader(self, session: Session, reader: User) -> tuple[int, int]:
        """As `seen_by`, of what a person was shown until now."""
        return self.seen_by(Exposure.of(session, reader.id))

    def take_out(
        self, session: Session, enrolment_id: uuid.UUID, by: User, reason: str
    ) -> Enrolment:
        """Withdraw a reader for good; what they answered is kept and marked.

        Raises:
            Forbidden: the study is somebody else's.
            NotFound, Conflict, Unreadable: as `Enrolment.withdraw`.
        """
        self.refuse_stranger(by)
        enrolment = Enrolment.of_study_by_id(session, self.id, enrolment_id)
        enrolment.withdraw(session, by, reason)
        return enrolment

    def _refuse_aware(self, session: Session, reader: User) -> None:
        """Conflict where a person is known to know that there are synthetic images."""
        if reader.role != "reader":
            raise Conflict(
                f"{reader.name} is {reader.role}, and whoever may make studies knows that Hepatica "
                "draws synthetic lesions. Enrol accounts with the role reader."
            )
        conducted = sa.exists().where(Conduct.enrolment_id == Enrolment.id)
        others = session.execute(
            sa.select(ReaderStudy.title, ReaderStudy.unaware, Withdrawal.id.is_not(None), conducted)
            .join(Enrolment, Enrolment.study_id == ReaderStudy.id)
            .outerjoin(Withdrawal, Withdrawal.enrolment_id == Enrolment.id)
            .where(Enrolment.reader_id == reader.id)
        )
        for title, unaware, withdrawn, took_part in others:
            if took_part or not withdrawn or (not unaware and telling(title)):
                raise Conflict(
                    f"{reader.name} is or was enrolled in another reader study, which has told of "
                    "synthetic images or will: they are not unaware, or not for long. Enrol "
                    "someone else."
                )
        if Look.knows_synthetics(session, reader.id):
            raise Conflict(
                f"{reader.name} has looked at synthetic lesions in Hepatica, and is not unaware "
                "any more. Enrol someone else."
            )

    def _refuse_known(self, session: Session, reader: User, by: User) -> None:
        design = self.design
        if not (design.exclude_own or design.exclude_read or design.exclude_seen):
            return
        if design.exclude_read:
            Enrolment.refuse_exposures(session, by, but_of=self.id)
        known = Exposure.of(session, reader.id)
        every = self.plan.every
        real = {item.lesion for item in every.real}
        synthetic = {(item.checkpoint, item.seed) for item in every.synthetic}
        own = len(real & known.own) if design.exclude_own else 0
        read = len(real & known.read) if design.exclude_read else 0
        drawn = len(synthetic & known.synthetics) if design.exclude_read else 0
        seen = self.seen_by(known) if design.exclude_seen else (0, 0)
        of_real = f"of the {len(real)} real lesions of this study"
        of_drawn = f"of its {len(synthetic)} synthetic images"
        said = [
            f"marked or reviewed {own} {of_real}" if own else "",
            f"has read, or is to read, {read} {of_real} in another one" if read else "",
            f"has read, or is to read, {drawn} {of_drawn} in another one" if drawn else "",
            f"has seen {seen[0]} {of_real} in the viewer, a data set or results" if seen[0] else "",
            f"was shown {seen[1]} {of_drawn} elsewhere" if seen[1] else "",
        ]
        if any(said) and Enrolment.reads(session, by, self.id):  # no number of images for a reader
            said = ["knows images of this study already"]
        if any(said):
            raise Conflict(
                f"{reader.name} {'; '.join(filter(None, said))}, and would know them again. "
                "Compose a study without what this reader knows, or one that says that readers "
                "may know it (both in the step Images), or enrol someone else."
            )

    def seen_by(self, known: Exposure) -> tuple[int, int]:
        """How many of its real lesions and synthetic images a person was shown elsewhere."""
        every = self.plan.every
        return (
            len({item.lesion for item in every.real} & known.seen),
            sum(known.has_seen(item.checkpoint, item.seed) for item in every.synthetic),
        )

    # -- unblinding ----------------------------------------------------------------------------

    def sharing(self, session: Session) -> list[Sharing]:
        """The studies that are open and show images of this one: its Unblinding tells theirs.

        A lesion whose box was drawn anew counts as the same finding.
        """
        every = self.plan.every
        lesions = same_findings(session, {item.lesion for item in every.real})
        synthetics = {(item.checkpoint, item.seed) for item in every.synthetic}
        open_ones = session.scalars(
            sa.select(ReaderStudy)
            .where(
                ReaderStudy.id != self.id,
                sa.exists().where(Protocol.study_id == ReaderStudy.id),
                ~sa.exists().where(Unblinding.study_id == ReaderStudy.id),
            )
            .order_by(ReaderStudy.created_at)
        )
        found = []
        for other in open_ones:
            theirs = other.plan.every
            images = sum(item.lesion in lesions for item in theirs.real) + sum(
                (item.checkpoint, item.seed) in synthetics for item in theirs.synthetic
            )
            if images:
                found.append(Sharing(other.id, other.title, images))
        return found

    def unblind(
        self, session: Session, by: User, *, reason: str, typed: str, shared: str = ""
    ) -> Unblinding:
        """Close the study and let truth be shown from now on.

        Args:
            shared: `SHARED_WORD`, where open studies show images of this one.

        Raises:
            Forbidden: it is somebody else's.
            Conflict: not open, or unblinded before.
            Unreadable: no reason, or a word was not typed.
        """
        self.refuse_stranger(by)
        if not self.protocols:
            raise Conflict("The study was never opened; there is nothing to unblind.")
        if self.unblinding is not None:
            raise Conflict("The study was unblinded before.")
        if not 5 <= len(reason.strip()) <= 2000:
            raise Unreadable("Say why the study is unblinded now, in 5 to 2000 characters.").about(
                "reason"
            )
        if typed.strip() != WORD:
            raise Unreadable(
                f"Type {WORD} exactly to unblind the study; it cannot be taken back."
            ).about("typed")
        sharing = self.sharing(session)
        if sharing and shared.strip() != SHARED_WORD:
            raise Unreadable(
                f"Images of this study are shown in {len(sharing)} that "
                f"{'is' if len(sharing) == 1 else 'are'} still being read; unblinding shows their "
                f"truth too. Unblind the others first, or type {SHARED_WORD} exactly to go on."
            ).about("shared")
        # an answer that is being stored locks its enrolment: it is in before, or refused after
        session.execute(
            sa.select(Enrolment.id).where(Enrolment.study_id == self.id).with_for_update()
        )
        unblinding = Unblinding(study_id=self.id, by_id=by.id, reason=reason.strip())
        session.add(unblinding)
        session.flush()
        session.expire(self, ["unblinding"])
        Event.record(
            session, by.name, "reader study unblinded", str(self.id),
            **{"shared with": [str(one.id) for one in sharing]} if sharing else {},
        )  # fmt: skip
        return unblinding
