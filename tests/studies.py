"""What reader studies are made of: known lesions, generators, drawing without networks."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.orm import Session

import once
from app.db import now
from app.inference import Inference
from app.models import Blob, Case, Checkpoint, Conduct, Lesion, ReaderStudy, Review, User
from app.models.cases.case import drop_pixels
from app.models.reader_studies.composition import Draw
from app.models.reader_studies.conduct import CheckIn
from app.models.reader_studies.design import Design
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.wish import Wish
from app.uploads import opening
from app.uploads.parcel import Limits, Parcel
from factories import make_dicom, make_hu
from ml.images.roi import Box
from ml.lesion import LIVER, LesionScheme

KEY = b"a key for tests, thirty-two characters or more"
SOURCE_WORD = "xenogen"
"""Part of every generator's name: a canary that no reader may ever see."""
PATIENT_WORD = "CANARYBIRD"
"""Part of every case's pseudonym: likewise."""


def make_user(session: Session, name: str, role: str = "reader") -> User:
    """An account; the password is the one that ``signed_in_as`` types."""
    return User.named(session, name) or User.add(session, name, role, "correct horse")


def tamper(session: Session, table: str) -> None:
    """Let rows of a table be changed, as somebody can who owns the database."""
    of = f" ON {table}" if session.get_bind().dialect.name == "postgresql" else ""
    session.execute(sa.text(f"DROP TRIGGER keep_{table}_update{of}"))


def make_generators(
    session: Session,
    scheme: LesionScheme = LIVER,
    training_kind: str = "phantom",
    window_hu: tuple[float, float] = (-150.0, 250.0),
    word: str = SOURCE_WORD,
) -> list[Checkpoint]:
    """A served generator for each class; nothing is in its files but what it says of itself."""
    digest = Blob.store(session, b"no network", "application/onnx")

    def meta(name: str, key: str) -> dict[str, Any]:
        return {
            "format": 1, "name": name, "kind": "generator", "lesion_class": key,
            "scheme": scheme.to_dict(), "window_hu": list(window_hu),
            "training_kind": training_kind, "dataset_digest": "0" * 64, "commit": "",
            "config": {}, "preset": "quick", "latent_size": 1, "metrics": {}, "digests": {},
        }  # fmt: skip

    rows = [
        Checkpoint(
            name=f"{word}-{training_kind}-{key}",
            kind="generator",
            lesion_class=key,
            training_kind=training_kind,
            dataset_digest="0" * 64,
            meta=meta(f"{word}-{training_kind}-{key}", key),
            card=f"# {word}",
            onnx_digest=digest,
            weights_digest=digest,
            served_since=now(),
        )
        for key in scheme.keys
    ]
    session.add_all(rows)
    session.flush()
    return rows


@cache
def _parcel(patient: int, study: str, phantom: bool) -> Parcel:
    """One slice, decoded; hundreds of tests receive the same ones."""
    data = make_dicom(
        make_hu(1000 + patient),
        study=f"study {study}",
        patient_id=f"{PATIENT_WORD}-{patient}",
        phantom=phantom,
    )
    return opening.opened([("slice.dcm", data)], Limits(1, 10**9, 10**9))


def make_lesion(
    session: Session,
    patient: int,
    *,
    phantom: bool = True,
    boxes: Sequence[tuple[float, float]] = ((64, 64),),
    study: str = "",
) -> list[Lesion]:
    """A case of one slice with a lesion at each centre."""
    maker = make_user(session, "maker", "researcher")
    parcel = _parcel(patient, study or str(patient), phantom)
    receipt = Case.receive(session, parcel, maker, contrast_phase="portal", pseudonym="", key=KEY)
    assert receipt.accepted, receipt.refused
    case = Case.require(session, receipt.accepted[0].case_id)
    image = case.series[0].images[0]
    return [Lesion.mark(session, image, Box(x - 14, y - 14, 28, 28), maker) for x, y in boxes]


def remove(session: Session, case: Case) -> None:
    """Delete a case and its pixels at once, as the last part of a deletion does."""
    drop_pixels(session, case.leave(session, "tests"))


def desk_of_ada(
    app: Any, session: Session, signed_in_as: Any, design: Design
) -> tuple[Any, str, ReaderStudy]:
    """A browser of the reader ada, the address of her desk, and the study she reads."""
    app.state.inference = NoNetworks()
    study = make_study(session, make_user(session, "ada"), per_class=3, design=design)
    session.commit()
    [enrolment] = Enrolment.of_study(session, study.id)
    return signed_in_as("reader", name="ada"), f"/readings/{enrolment.token}", study


def review(session: Session, lesion: Lesion, lesion_class: str, **more: Any) -> Review:
    """A review by the maker: pathology, certain."""
    given = {"confidence": 5, "basis": "pathology", "note": "", "score_visible": False, **more}
    by = given.pop("by", None) or make_user(session, "maker", "researcher")
    return Review.give(session, lesion, by, LIVER, lesion_class=lesion_class, **given)


def make_known_lesions(
    session: Session, per_class: int, *, phantom: bool = True, first: int = 0
) -> list[Lesion]:
    """``per_class`` reviewed lesions of each class, every one in a patient of its own.

    A second call for the same database needs another ``first``, up to 99.
    """
    asked = ("lesions", per_class, phantom, first)
    return _again(session, asked, lambda: _known_lesions(session, per_class, phantom, first))


def _known_lesions(session: Session, per_class: int, phantom: bool, first: int) -> list[Lesion]:
    lesions = []
    for place, key in enumerate(LIVER.keys):
        for number in range(per_class):
            [lesion] = make_lesion(session, 100 * place + first + number, phantom=phantom)
            review(session, lesion, key)
            lesions.append(lesion)
    return lesions


_made: dict[Any, tuple[once.Statements, list[uuid.UUID]]] = {}


@contextmanager
def made_anew() -> Iterator[None]:
    """Within it nothing is as another test made it, and nothing stays for another."""
    before = dict(_made)
    _made.clear()
    yield
    _made.clear()
    _made.update(before)


def _again(session: Session, asked: Any, make: Callable[[], list[Lesion]]) -> list[Lesion]:
    """What ``make`` adds to a database without a maker and a case: the same rows each time.

    To receive, mark and review six slices took half the time of what hundreds of tests begin with.
    """
    known = sa.or_(sa.exists().where(User.name == "maker"), sa.exists(sa.select(Case.id)))
    if session.get_bind().dialect.name != "sqlite" or session.scalar(sa.select(known)):
        return make()
    session.flush()
    connection = session.connection()
    if asked not in _made:
        with once.executed(connection) as statements:
            lesions = make()
            session.flush()
        _made[asked] = statements, [lesion.id for lesion in lesions]
        return lesions
    statements, ids = _made[asked]
    for statement, parameters in statements:
        connection.exec_driver_sql(statement, parameters)
    found = session.scalars(sa.select(Lesion).where(Lesion.id.in_(ids)))
    by_id = {lesion.id: lesion for lesion in found}
    return [by_id[one] for one in ids]


_DISC = np.where(np.hypot(*(np.mgrid[:64, :64] - 32.0)) < 18, -0.4, 0.3)


def draw(
    _session: Session, _checkpoint: Checkpoint, seeds: Sequence[int], _truncation: float = 1.0
) -> npt.NDArray[np.float32]:
    """Synthetic ROIs without a network: noise around a disc, one picture per seed."""
    rois = [
        np.tanh(_DISC + 0.2 * np.random.default_rng(seed).standard_normal((64, 64)))
        for seed in seeds
    ]
    return np.array(rois, np.float32).reshape(-1, 64, 64)


class NoNetworks(Inference):
    """Stands where the application keeps its loaded networks; draws without any."""

    def __init__(self) -> None:
        super().__init__(threads=1)

    def draw(
        self,
        session: Session,
        checkpoint: Checkpoint,
        seeds: Sequence[int],
        truncation: float = 1.0,
    ) -> npt.NDArray[np.float32]:
        return draw(session, checkpoint, seeds)


def check_in(
    session: Session, enrolment: Enrolment, study: ReaderStudy, card_px: str = "320"
) -> Conduct:
    """Consent, screen and room of a reader, as the page before trial 1 stores them."""
    said = CheckIn(
        consent=True,
        consent_version=study.design.consent_version,
        years="12",
        subspecialty="abdominal",
        room="dimmed",
        ramp_dark="yes",
        ramp_bright="yes",
        card_px=card_px,
        screen={"dpr": "1", "screen_width": "1280", "screen_height": "800"},
    )
    return Conduct.give(session, enrolment, study.design, said)


def compose(session: Session, by: User, *, draw: Draw | None = None, **asked: Any) -> ReaderStudy:
    """A study by a wish of these things."""
    return ReaderStudy.compose(session, by, Wish(**asked), draw)


def make_study(
    session: Session,
    *readers: User,
    per_class: int = 2,
    real: int = 6,
    synthetic: int = 6,
    seed: int = 7,
    opened: bool = True,
    checked_in: bool = True,
    title: str = "Blinded reading",
    design: Design | None = None,
) -> ReaderStudy:
    """A study over lesions and generators of its own, open unless said.

    Its readers are enrolled and, unless said, have checked in: trial 1 is next.
    """

    def furnish() -> list[Lesion]:
        make_user(session, "maker", "researcher")
        make_generators(session)
        return make_known_lesions(session, per_class)

    _again(session, ("study", per_class), furnish)
    researcher = make_user(session, "maker", "researcher")
    study = compose(
        session, researcher, title=title, scheme=LIVER, real=real, synthetic=synthetic, seed=seed,
        design=design or Design(), draw=draw,
    )  # fmt: skip
    for reader in readers:
        enrolment = study.enrol(session, reader, researcher)
        if checked_in:
            check_in(session, enrolment, study)
    if opened:
        study.open(session, researcher, study.pictures(session, draw))
    return study
