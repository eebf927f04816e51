"""Demo content for an empty database: simulated cases, reviews and a reader study.

Everything goes in by the road that a user's own files take. All of it is phantom and says so.
"""

from __future__ import annotations

import csv
import sys
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.db import Database, serialise
from app.errors import Conflict
from app.inference import Inference
from app.models.cases.case import Case, Image, Series
from app.models.cases.lesion import Lesion
from app.models.cases.review import Review
from app.models.cases.uids import kept
from app.models.checkpoint import Checkpoint
from app.models.ground.event import Event
from app.models.people.user import DEMO_ACCOUNTS, DEMO_PASSWORD, User
from app.models.reader_studies.study import ReaderStudy
from app.models.reader_studies.wish import Wish
from app.uploads import opening
from app.uploads.parcel import Limits
from ml.images.roi import Box
from ml.lesion import LIVER
from ml.phantom import SHIPPED, series
from ml.progress import Progress, drive

CASES = 12
SEED = 20181210
"""The day that the paper appeared; any other number would do."""

_AWAITING = 2  # cases left for the user to review


def fill(database: Database, key: bytes, *, only_if_empty: bool) -> None:
    """Fill a database without accounts; print the progress and the accounts.

    Raises:
        Conflict: there are accounts already and ``only_if_empty`` is not set.
    """
    with database.reading() as session:
        if session.scalar(sa.select(sa.exists().where(User.name.is_not(None)))):
            if only_if_empty:
                if session.scalar(sa.select(sa.exists().where(User.demo))):
                    _say_accounts()
                return
            raise Conflict("There are accounts in this database; demo content is for an empty one.")
    drive(_steps(database, key))
    _say_accounts()


def _say_accounts() -> None:
    names = ", ".join(name for name, _, _ in DEMO_ACCOUNTS)
    print(f"Demo accounts: {names}; password {DEMO_PASSWORD}. All content is simulated (phantom).")
    sys.stdout.flush()


def _steps(database: Database, key: bytes) -> Iterator[Progress]:
    total = CASES + 3
    yield Progress(0, total, "demo: simulating CT")
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(2) as pool:
        folders = [Path(folder) / str(index) for index in range(CASES)]
        made = pool.map(_simulate, range(CASES), folders)
        with database.transaction() as session:  # all or nothing: a stopped start begins anew
            serialise(session, "demo content")
            if session.scalar(sa.select(sa.exists().where(User.name.is_not(None)))):
                return  # another process that started at the same time was faster
            Checkpoint.register_shipped(session)
            for name, role, _ in DEMO_ACCOUNTS:
                User.add(session, name, role, DEMO_PASSWORD, demo=True)
            Event.record(session, "installation", "demo content made")
            for index, case_folder in enumerate(made):
                _receive(session, case_folder, key, reviewed=index >= _AWAITING)
                yield Progress(index + 1, total, f"demo: simulated CT {index + 1} of {CASES}")
            _study(session, key)
            yield Progress(total, total, "demo: reader study ready")


def _simulate(index: int, folder: Path) -> Path:
    """One phantom patient with one lesion as DICOM, the classes in turn."""
    counts = {LIVER.keys[index % len(LIVER)]: 1}
    for _ in series.write_cohort(counts, SEED + index, folder, version=SHIPPED):
        pass
    return folder


def _receive(session: Session, folder: Path, key: bytes, *, reviewed: bool) -> None:
    radiologist = User.require(session, "researcher")
    uploads = [(path.name, path.read_bytes()) for path in sorted(folder.rglob("*.dcm"))]
    parcel = opening.opened(uploads, Limits(files=1000, unpacked_bytes=10**9, pixels=10**9))
    receipt = Case.receive(
        session, parcel, radiologist, contrast_phase="portal", pseudonym="", key=key
    )
    if receipt.refused:
        raise RuntimeError(f"the phantom was refused: {receipt.refused[0].reason}")
    checkpoint = Checkpoint.classifier(session)
    inference = Inference(threads=1)
    with (folder / "lesions.csv").open(encoding="utf-8", newline="") as stream:
        truths = [row for row in csv.DictReader(stream) if row["key_slice"] == "1"]
    for truth in truths:
        image = session.scalars(
            sa.select(Image)
            .join(Series, Series.id == Image.series_id)
            .where(Image.sop_uid == kept(truth["sop_instance_uid"], key))
        ).one()
        box = Box(*(float(truth[name]) for name in ("x", "y", "width", "height")))
        lesion = Lesion.mark(session, image, box, radiologist)
        inference.classify(session, lesion, checkpoint)
        if reviewed:
            Review.give(
                session,
                lesion,
                radiologist,
                checkpoint.scheme,
                lesion_class=truth["lesion_class"],
                confidence=5,
                basis="pathology",
                note="Phantom: the class is known because the lesion was simulated.",
                score_visible=False,
            )


def _study(session: Session, key: bytes) -> None:
    """A study of ten real and ten synthetic ROIs, open, with one reader enrolled."""
    researcher = User.require(session, "researcher")
    wish = Wish(
        title="Demo: phantom lesions, simulated or drawn by a generator?",
        scheme=LIVER,
        real=10,
        synthetic=10,
        seed=SEED,
    )
    study = ReaderStudy.compose(session, researcher, wish.sealed(key, uuid.uuid4()))
    study.open(session, researcher, study.pictures(session, Inference(threads=2).draw))
    study.enrol(session, User.require(session, "blind-reader"), researcher)
