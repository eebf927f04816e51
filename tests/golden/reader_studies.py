"""What a seed chooses and what a protocol freezes, with ids that are the same each time.

``PYTHONPATH=.:tests python -m tests.golden.reader_studies`` writes ``reader_studies.json`` again; a
change of it is argued in the commit that makes it.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.orm import QueryableAttribute, Session

import studies
from app.db import Database
from app.models import Checkpoint, Lesion, Protocol, ReaderStudy, Stimulus, Trial, User
from app.models.reader_studies.composition import Draw
from app.models.reader_studies.design import DESIGNS, Design
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.stimulus import stimulus_png
from app.models.runs.dataset import DatasetVersion
from ml.lesion import LIVER
from tests.golden.pins import picture, plain

PINS = Path(__file__).with_name("reader_studies.json")
_IDS = uuid.UUID("6b1d1b0e-2f4d-4f43-9d0c-6f8b6f0f9a11")


def name_rows(session: Session) -> None:
    """Every row that is added from now on gets an id by its kind and number."""
    made: Counter[str] = Counter()

    @sa.event.listens_for(session, "transient_to_pending")
    def name(_session: Session, row: Any) -> None:
        if isinstance(getattr(type(row), "id", None), QueryableAttribute) and (
            row.id is None or isinstance(row, Lesion)
        ):
            kind = type(row).__name__
            made[kind] += 1
            row.id = uuid.uuid5(_IDS, f"{kind} {made[kind]}")


def thief(copied: npt.NDArray[np.float32]) -> Draw:
    """A generator that draws the same picture for every third seed."""

    def draw(
        _session: Session, _checkpoint: Checkpoint, seeds: Sequence[int]
    ) -> npt.NDArray[np.float32]:
        return np.array([copied if seed % 3 == 0 else picture(seed % 1009) for seed in seeds])

    return draw


def of_compositions(session: Session) -> dict[str, Any]:
    """The plans of studies of several kinds, as they are stored."""
    maker = studies.make_user(session, "maker", "researcher")
    ada = studies.make_user(session, "ada")
    studies.make_generators(session)
    studies.make_generators(session, word="second")
    lesions = studies.make_known_lesions(session, 4)
    studies.review(session, lesions[0], "cyst", by=ada)
    [*_, more] = studies.make_lesion(session, 90, boxes=((40, 40), (90, 90)), study="two")
    studies.review(session, more, "cyst")
    archive = DatasetVersion.pack(session, "frozen", LIVER, "phantom")
    DatasetVersion.freeze(session, maker, archive)
    stolen = lesions[1].roi(session, (-150.0, 250.0)).pixels
    asked: dict[str, Any] = {"title": "T", "scheme": LIVER, "real": 7, "synthetic": 8, "seed": 11}
    practising = replace(Design(), practice=5, repeats=2, repeat_distance=3)
    compared = replace(Design(), exclude_near=True, near_limit=0.97, practice=4)
    wishes: dict[str, dict[str, Any]] = {
        "balanced": {},
        "per class": {
            "real": {"cyst": 1, "metastasis": 3, "hemangioma": 2},
            "synthetic": {"cyst": 0, "metastasis": 4, "hemangioma": 1},
        },
        "practice": {"design": practising, "seed": 12},
        "two generators": {
            "generators": [f"{word}-phantom-{key}" for key in LIVER.keys
                           for word in (studies.SOURCE_WORD, "second")]
        },
        "frozen": {"versions": ["frozen"], "real": 13, "seed": 13},
        "without": {"without_lesions_of": [ada], "seed": 14},
        "near ones drawn anew": {"design": compared, "draw": thief(stolen), "seed": 15},
    }  # fmt: skip
    found: dict[str, Any] = {}
    for name, wish in wishes.items():
        study = studies.compose(session, maker, **{**asked, **wish})
        table = ReaderStudy.__table__
        row = session.execute(sa.select(table).where(table.c.id == study.id)).one()._mapping
        found[name] = {
            key: row[key] for key in ("kind", "scheme", "window_hu", "seed", "plan", "notes")
        } | {"design": row["design"]["preset"]}
    return found


def of_protocols(session: Session) -> dict[str, Any]:
    """Frozen protocols over pictures of whole numbers: contents, hashes, orders of reading."""
    studies.make_generators(session)
    studies.make_known_lesions(session, 2)
    found: dict[str, Any] = {}
    for name, design in {
        "plain": Design(),
        "recommended": replace(
            DESIGNS["balanced"].design, practice=2, repeats=2, repeat_distance=2, exclude_near=False
        ),
        "without class": Design(lesion_class=False, consent_date="2026-11-27", back=True),
    }.items():
        study, maker = _opened(session, design)
        study.amend(session, maker, what="margin", text="0.12", reason="asked by a reviewer")
        study.amend(session, maker, what="notes", text="read in two rooms", reason="a second room")
        table = Protocol.__table__
        rows = session.execute(
            sa.select(table.c.content, table.c.digest)
            .where(table.c.study_id == study.id)
            .order_by(table.c.version)
        ).all()
        [enrolment] = Enrolment.of_study(session, study.id)
        order = session.execute(
            sa.select(Trial.position, Trial.kind, Stimulus.pixels_digest)
            .join(Stimulus, Stimulus.id == Trial.stimulus_id)
            .where(Trial.enrolment_id == enrolment.id)
            .order_by(Trial.position)
        ).all()
        found[name] = {
            "content": _without_audit(rows[0].content),
            "digests": [row.digest for row in rows],
            "order": [[kind, digest[:12]] for _, kind, digest in order],
        }
    return found


def _opened(session: Session, design: Design) -> tuple[ReaderStudy, User]:
    """A study of four images, too few for an audit, so that its record has no figures."""
    maker = studies.make_user(session, "maker", "researcher")
    study = studies.compose(
        session, maker, title="Frozen", scheme=LIVER, real=3, synthetic=1, seed=7, design=design
    )
    study.enrol(session, studies.make_user(session, f"reader-{study.id.hex[:8]}"), maker)
    shown = [
        replace(one, png=stimulus_png(picture(number)))
        for number, one in enumerate(study.pictures(session, studies.draw), 3)
    ]
    study.open(session, maker, shown)
    return study, maker


def _without_audit(content: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key != "audit"}


def found_in(folder: Path, what: str) -> dict[str, Any]:
    """``compositions`` or ``protocols``, from a database in ``folder``."""
    database = Database(f"sqlite:///{folder}/{what}.sqlite3")
    database.migrate()
    with studies.made_anew(), database.transaction() as session:
        name_rows(session)
        found = (of_compositions if what == "compositions" else of_protocols)(session)
    database.engine.dispose()
    return plain(found)


def main() -> None:
    with TemporaryDirectory() as folder:
        found = {what: found_in(Path(folder), what) for what in ("compositions", "protocols")}
    PINS.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", "utf-8")


if __name__ == "__main__":
    main()
