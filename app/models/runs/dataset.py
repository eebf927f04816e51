"""Dataset versions: frozen, hashed sets of reviewed ROIs with the tissue around them."""

from __future__ import annotations

import io
import json
import re
import tempfile
import uuid
import zipfile
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from app.db import Base, Word, in_parts, now, serialise
from app.errors import Conflict, Gone, NotFound, Unreadable
from app.models.cases.case import Case, being_deleted
from app.models.cases.lesion import Lesion
from app.models.ground.append_only import append_only
from app.models.ground.blob import Blob
from app.models.ground.event import Event
from app.models.people.user import User
from app.models.runs.known_lesions import KINDS, KnownLesion, KnownLesions
from ml.dataset import writing
from ml.dataset.manifest import Finding, Line, Manifest
from ml.images.ct_slice import ImageKind
from ml.lesion import LesionScheme

MIXED = "A patient may have lesions of several classes"
"""What a researcher ticks when such patients are no mistake."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}")
_MOST_TOLD = 20
_FILE = "lesion "
_ZIP = "application/zip"
_EPOCH = (2018, 12, 10, 0, 0, 0)  # one date in every archive: the same data give the same bytes


@append_only
class DatasetVersion(Base):
    """A data set as training reads it, whole and unchangeable, in one blob."""

    __tablename__ = "dataset_version"
    __table_args__ = (
        sa.CheckConstraint("kind IN ('phantom','calibrated','uncalibrated')", name="kind"),
        sa.UniqueConstraint(
            "name",
            info={
                "taken": "There is a dataset version of this name "
                "already, made a moment ago; choose another name."
            },
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    name: Mapped[str] = mapped_column(sa.String(60))
    kind: Mapped[ImageKind] = mapped_column(Word(ImageKind, 20))
    scheme_json: Mapped[dict[str, Any]] = mapped_column("scheme")
    digest: Mapped[str] = mapped_column(sa.String(64), index=True)
    counts: Mapped[dict[str, int]]
    rois: Mapped[int]
    patients: Mapped[int]
    archive_digest: Mapped[str] = mapped_column(sa.ForeignKey("blob.digest"))
    made_by_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("user.id"))
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)

    made_by: Mapped[User] = relationship()
    remains: Mapped[list[DatasetRemains]] = relationship(
        order_by="DatasetRemains.number", viewonly=True, lazy="selectin"
    )
    """What was left each time that ROIs were erased from it; the last counts."""

    @staticmethod
    def all(session: Session) -> list[DatasetVersion]:
        """Every version, the newest first."""
        query = sa.select(DatasetVersion).order_by(DatasetVersion.created_at.desc())
        return list(session.scalars(query))

    @staticmethod
    def require(session: Session, version_id: uuid.UUID) -> DatasetVersion:
        """The version; NotFound when there is none."""
        version = session.get(DatasetVersion, version_id)
        if version is None:
            raise NotFound("There is no such dataset version.")
        return version

    @staticmethod
    def chosen(session: Session, names: Sequence[str]) -> list[DatasetVersion]:
        """The versions of these names, each once, in this order.

        Raises:
            Unreadable: there is none of a name.
        """
        if not names:
            return []
        found = {version.name: version for version in DatasetVersion.all(session)}
        absent = [name for name in names if name not in found]
        if absent:
            raise Unreadable(
                f"There is no dataset version named {absent[0][:60]!r}. There are: "
                f"{', '.join(sorted(found)) or 'none'}."
            )
        return [found[name] for name in dict.fromkeys(names)]

    @staticmethod
    def by_digest(session: Session, digests: Collection[str]) -> dict[str, DatasetVersion]:
        """Digest → the oldest version with it, for those that are kept here."""
        query = (
            sa.select(DatasetVersion)
            .where(DatasetVersion.digest.in_(digests))
            .order_by(DatasetVersion.created_at.desc())
        )
        return {version.digest: version for version in session.scalars(query)}

    @staticmethod
    def joint_classes(
        session: Session, versions: Sequence[DatasetVersion], scheme: LesionScheme
    ) -> dict[uuid.UUID, str]:
        """Lesion → its frozen class, over several versions.

        Raises:
            Unreadable: another scheme, or a lesion with two classes.
        """
        joint: dict[uuid.UUID, str] = {}
        for version in versions:
            if version.scheme.keys != scheme.keys:
                raise Unreadable(
                    f"The dataset version {version.name} has the classes "
                    f"{', '.join(version.scheme.keys)}, and the scheme {scheme.name} has "
                    f"{', '.join(scheme.keys)}. Choose another version or scheme."
                )
            frozen = version.classes(session)
            torn = [one for one, key in frozen.items() if joint.get(one, key) != key]
            if torn:
                lesions = "1 lesion has" if len(torn) == 1 else f"{len(torn)} lesions have"
                raise Unreadable(
                    f"{lesions} another class in the dataset version {version.name} than in the "
                    "others chosen. Choose versions that agree."
                )
            joint |= frozen
        return joint

    @property
    def scheme(self) -> LesionScheme:
        """The classes of its lesions, as they were when it was frozen."""
        return LesionScheme.from_dict(self.scheme_json)

    @staticmethod
    def pack(
        session: Session,
        name: str,
        scheme: LesionScheme,
        kind: str,
        *,
        mixed_patients: bool = False,
        cases: Collection[uuid.UUID] = (),
    ) -> bytes:
        """The data set of every lesion with a known class, as a zip; only reads the database.

        Args:
            cases: of these alone; of all where none is named.
            mixed_patients: accept lesions of several classes in one patient.

        Raises:
            Unreadable: a name or kind that cannot be used, no lesion of that kind, or a patient
                with lesions of several classes that was not accepted.
            ManifestError: the data do not hold together; the message lists every problem.
        """
        if not _NAME.fullmatch(name):
            raise Unreadable(
                "Name the version with lower-case letters, digits, - and _, at most 60 characters."
            ).about("name")
        if kind not in KINDS:
            raise Unreadable(f"Choose the kind of image: {', '.join(KINDS)}.").about("kind")
        known = KnownLesions.of(session, scheme).of_kind(kind)
        if cases:
            known = tuple(one for one in known if one.case_id in cases)
        if not known:
            raise Unreadable(
                f"No lesion{' of the chosen cases' if cases else ''} of the kind {KINDS[kind]} "
                f"has a class of the scheme {scheme.name}. Mark and review lesions first."
            ).about("kind")
        if not mixed_patients:
            _refuse_mixed(session, known)
        _refuse_doubled(session, known)
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / name
            findings = _findings(session, known)
            for _ in writing.write(
                findings, len(known), scheme, out, mixed_patients=mixed_patients
            ):
                pass
            return _zipped(out)

    @staticmethod
    def freeze(session: Session, by: User, archive: bytes) -> DatasetVersion:
        """Store what ``pack`` made.

        Raises:
            Conflict: the name is taken, or some of its lesions were deleted since.
        """
        with tempfile.TemporaryDirectory() as folder:
            manifest = Manifest.load(_unzipped(archive, Path(folder)))
        again = "Nothing was frozen; freeze the version again."
        Lesion.refuse_gone(session, _lesions_of(manifest.lines), again)
        taken = session.execute(
            sa.select(DatasetVersion.id).where(DatasetVersion.name == manifest.name)
        ).first()
        if taken is not None:
            raise Conflict(
                f"There is a dataset version named {manifest.name}; choose another name."
            ).about("name")
        version = DatasetVersion(
            name=manifest.name,
            kind=manifest.kind,
            scheme_json=manifest.scheme.to_dict(),
            digest=manifest.digest,
            counts=dict(manifest.counts()),
            rois=len(manifest.lines),
            patients=len(manifest.patients),
            archive_digest=Blob.store(session, archive, _ZIP),
            made_by_id=by.id,
        )
        session.add(version)
        session.flush()
        told = {"name": version.name, "mixed_patients": manifest.mixed_patients}
        Event.record(session, by.name, "dataset version frozen", str(version.id), **told)
        return version

    @property
    def erased(self) -> int:
        """How many of its ROIs were erased with their patients' data."""
        return sum(one.erased for one in self.remains)

    @property
    def is_empty(self) -> bool:
        """Whether every one of its ROIs was erased."""
        return bool(self.remains) and self.remains[-1].archive_digest is None

    @property
    def erased_words(self) -> str:
        """That it is no longer what was frozen, as sentences; "" where it is."""
        if not self.remains:
            return ""
        last = self.remains[-1]
        n = self.erased
        rois = "1 ROI was" if n == 1 else f"{n} ROIs were"
        rest = (
            f"What is left has the digest {last.digest[:12]}…"
            if last.archive_digest
            else "Nothing is left of it"
        )
        return (
            f"{rois} deleted from {self.name} with the data of patients, last on "
            f"{last.at:%Y-%m-%d}. Its digest and counts are those of before; what was trained and "
            f"measured on it was so with what is gone. {rest}."
        )

    def refuse_erased(self) -> None:
        """Nothing where it is what was frozen.

        Raises:
            Conflict: ROIs were erased from it, so nothing new would be on what its digest names.
        """
        if self.remains:
            raise Conflict(f"{self.erased_words} Freeze a new version, and use that.")

    def refuse_leaving(self, session: Session) -> None:
        """Nothing where no deletion under way will take something from it.

        None begins until the transaction ends, so that it finds what is made of this one.

        Raises:
            Conflict: one will.
        """
        serialise(session, "erasure")
        if being_deleted(session):
            fresh = f"No run was begun on {self.name}; freeze a new version, and use that."
            Lesion.refuse_gone(session, _lesions_of(self._lines(session)), fresh)

    def archive(self, session: Session) -> bytes:
        """The zip with the folder that ``python -m ml experiment --data`` takes.

        Of a version from which ROIs were erased, what is left.

        Raises:
            Gone: nothing is left of it.
        """
        if not self.remains:
            return Blob.read(session, self.archive_digest)
        last = self.remains[-1]
        if last.archive_digest is None:
            raise Gone(self.erased_words)
        return Blob.read(session, last.archive_digest)

    def unpack(self, session: Session, folder: Path) -> Manifest:
        """Lay the data set out under ``folder``; its digest is checked again."""
        return Manifest.load(_unzipped(self.archive(session), folder))

    def without(self, session: Session, lesions: Collection[uuid.UUID]) -> Left | None:
        """What would be left without these lesions; None where it holds none of them.

        Only reads, so nobody waits for it.
        """
        held = [line for line in self._lines(session) if _lesion_of(line) in lesions]
        if not held:
            return None
        gone = {line.id for line in held}
        with tempfile.TemporaryDirectory() as place:
            whole = self.unpack(session, Path(place))
            stay = tuple(line for line in whole.lines if line.id not in gone)
            # a note may name a patient, such as one who shares an image with another
            left = replace(whole, lines=stay, notes=())
            out = Path(place) / "left" / whole.root.name
            left.save(out)
            return Left(frozenset(gone), left.digest, _zipped(out) if stay else None)

    def erase(self, session: Session, left: Left, by: str) -> None:
        """Put what ``without`` made in the place of what there is, whose bytes go."""
        before = self.remains[-1].archive_digest if self.remains else self.archive_digest
        store = None if left.archive is None else Blob.store(session, left.archive, _ZIP)
        session.add(
            DatasetRemains(
                version_id=self.id,
                number=len(self.remains) + 1,
                erased=len(left.gone),
                digest=left.digest,
                archive_digest=store,
            )
        )
        session.flush()
        if before is not None and before != store:
            Blob.erase(session, [before])
        session.expire(self, ["remains"])
        gone = len(left.gone)
        Event.record(session, by, "dataset version lost ROIs", str(self.id), rois=gone)

    def classes(self, session: Session) -> dict[uuid.UUID, str]:
        """Lesion → its class as it was frozen."""
        return {_lesion_of(line): line.lesion_class for line in self._lines(session)}

    def lesions(self, session: Session) -> dict[str, uuid.UUID]:
        """The id of each line → the lesion that it was cut for."""
        return {line.id: _lesion_of(line) for line in self._lines(session)}

    def whose(self, session: Session) -> frozenset[str]:
        """The patients whose lesions it holds, as ``Case.patient`` names them."""
        return frozenset(line.patient for line in self._lines(session))

    def _lines(self, session: Session) -> list[Line]:
        if self.is_empty:
            return []
        with zipfile.ZipFile(io.BytesIO(self.archive(session))) as opened:
            name = next(one for one in opened.namelist() if one.endswith("/lines.jsonl"))
            rows = opened.read(name).decode().splitlines()
        return [Line.from_dict(json.loads(row)) for row in rows if row]

    def rois_of(
        self, session: Session, window_hu: tuple[float, float]
    ) -> tuple[npt.NDArray[np.float32], list[str]]:
        """Its ROIs, (n, 64, 64) in [−1, 1], and the patient of each."""
        with tempfile.TemporaryDirectory() as folder:
            manifest = self.unpack(session, Path(folder))
            return manifest.rois(window_hu), [line.patient for line in manifest.lines]


@dataclass(frozen=True)
class Left:
    """What is left of a version without some lesions.

    Attributes:
        gone: the ids of the lines that go.
        digest: of the manifest of what is left.
        archive: None where nothing is left.
    """

    gone: frozenset[str]
    digest: str
    archive: bytes | None


@append_only
class DatasetRemains(Base):
    """That ROIs were erased from a version, and what was left of it; the version stays as it is."""

    __tablename__ = "dataset_remains"
    __table_args__ = (sa.UniqueConstraint("version_id", "number"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    version_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("dataset_version.id"))
    number: Mapped[int]
    erased: Mapped[int]
    digest: Mapped[str] = mapped_column(sa.String(64))
    archive_digest: Mapped[str | None] = mapped_column(sa.ForeignKey("blob.digest"))
    at: Mapped[datetime] = mapped_column(default=now)


def _lesion_of(line: Line) -> uuid.UUID:
    return uuid.UUID(line.file.removeprefix(_FILE))


def _lesions_of(lines: Iterable[Line]) -> set[uuid.UUID]:
    return {_lesion_of(line) for line in lines if line.file.startswith(_FILE)}


def _refuse_mixed(session: Session, known: Sequence[KnownLesion]) -> None:
    """Refuse patients with lesions of several classes, naming their cases.

    ``ml.dataset.manifest`` refuses them too, with its command line's remedy and by the patient's
    HMAC.
    """
    patients: defaultdict[str, list[KnownLesion]] = defaultdict(list)
    for item in known:
        patients[item.patient].append(item)
    told = []
    for lesions in patients.values():
        keys = sorted({item.lesion_class for item in lesions})
        if len(keys) > 1:
            of_patient = Case.id.in_({item.case_id for item in lesions})
            cases = sorted(set(session.scalars(sa.select(Case.pseudonym).where(of_patient))))
            told.append(f"{' + '.join(cases)} ({', '.join(keys)})")
    if told:
        who = "1 patient has" if len(told) == 1 else f"{len(told)} patients have"
        more = f" and {len(told) - _MOST_TOLD} more" if len(told) > _MOST_TOLD else ""
        raise Unreadable(
            f"{who} lesions of several classes: {'; '.join(sorted(told)[:_MOST_TOLD])}{more}. "
            f"Correct the reviews, or tick “{MIXED}”."
        ).about("mixed_patients")


def _refuse_doubled(session: Session, known: Sequence[KnownLesion]) -> None:
    """Refuse lesions that are one box on one image, naming them as their case does.

    ``ml.dataset.manifest`` refuses them too, by their ids.
    """
    same: defaultdict[tuple[object, ...], list[str]] = defaultdict(list)
    box = (Lesion.x, Lesion.y, Lesion.width, Lesion.height)
    for some in in_parts([item.id for item in known]):
        rows = session.execute(
            sa.select(Case.pseudonym, Lesion.number, Lesion.image_id, *box)
            .join(Case, Case.id == Lesion.case_id)
            .where(Lesion.id.in_(some))
            .order_by(Lesion.number)
        )
        for pseudonym, number, *place in rows:
            same[pseudonym, *place].append(str(number))
    told = sorted(
        f"lesions {' and '.join(numbers)} of {pseudonym}"
        for (pseudonym, *_), numbers in same.items()
        if len(numbers) > 1
    )
    if told:
        more = f" and {len(told) - _MOST_TOLD} more" if len(told) > _MOST_TOLD else ""
        raise Unreadable(
            f"The same box of one slice was marked more than once: {'; '.join(told[:_MOST_TOLD])}"
            f"{more}. Withdraw all but one on the page of the case."
        ).about("kind")


def _findings(session: Session, known: tuple[KnownLesion, ...]) -> Iterator[Finding]:
    for item in known:
        lesion = Lesion.require(session, item.id)
        yield Finding.on(
            lesion.image.slice(session),
            lesion.box,
            lesion_class=item.lesion_class,
            patient=item.patient,
            file=f"{_FILE}{item.id}",
            diameter_mm=lesion.diameter_mm,
        )


def _zipped(folder: Path) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                entry = zipfile.ZipInfo(str(path.relative_to(folder.parent)), _EPOCH)
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, path.read_bytes())
    return stream.getvalue()


def _unzipped(archive: bytes, folder: Path) -> Path:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        opened.extractall(folder)
        return folder / opened.namelist()[0].split("/")[0]
