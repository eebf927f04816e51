"""Dataset versions: frozen, hashed sets of reviewed ROIs with the tissue around them."""

from __future__ import annotations

import io
import json
import re
import tempfile
import uuid
import zipfile
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from app.db import Base, Word, now
from app.errors import Conflict, NotFound, Unreadable
from app.models.cases.case import Case
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
            )
        if kind not in KINDS:
            raise Unreadable(f"Choose the kind of image: {', '.join(KINDS)}.")
        known = KnownLesions.of(session, scheme).of_kind(kind)
        if cases:
            known = tuple(one for one in known if one.case_id in cases)
        if not known:
            raise Unreadable(
                f"No lesion{' of the chosen cases' if cases else ''} of the kind {KINDS[kind]} "
                f"has a class of the scheme {scheme.name}. Mark and review lesions first."
            )
        if not mixed_patients:
            _refuse_mixed(session, known)
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
            Conflict: the name is taken.
        """
        with tempfile.TemporaryDirectory() as folder:
            manifest = Manifest.load(_unzipped(archive, Path(folder)))
        taken = session.execute(
            sa.select(DatasetVersion.id).where(DatasetVersion.name == manifest.name)
        ).first()
        if taken is not None:
            raise Conflict(
                f"There is a dataset version named {manifest.name}; choose another name."
            )
        version = DatasetVersion(
            name=manifest.name,
            kind=manifest.kind,
            scheme_json=manifest.scheme.to_dict(),
            digest=manifest.digest,
            counts=dict(manifest.counts()),
            rois=len(manifest.lines),
            patients=len(manifest.patients),
            archive_digest=Blob.store(session, archive, "application/zip"),
            made_by_id=by.id,
        )
        session.add(version)
        session.flush()
        told = {"name": version.name, "mixed_patients": manifest.mixed_patients}
        Event.record(session, by.name, "dataset version frozen", str(version.id), **told)
        return version

    def archive(self, session: Session) -> bytes:
        """The zip with the folder that ``python -m ml experiment --data`` takes."""
        return Blob.read(session, self.archive_digest)

    def unpack(self, session: Session, folder: Path) -> Manifest:
        """Lay the data set out under ``folder``; its digest is checked again."""
        return Manifest.load(_unzipped(self.archive(session), folder))

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


def _lesion_of(line: Line) -> uuid.UUID:
    return uuid.UUID(line.file.removeprefix(_FILE))


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
        )


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
