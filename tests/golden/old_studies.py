"""Databases of earlier versions, with unblinded reader studies, as those versions wrote them.

``old/schema-NNNN.sqlite3.xz`` was made by the version whose last migration was NNNN, over
``tests/studies.py`` of its time: two readers of three real and three synthetic images. 0001 knew no
studies: it holds two cases with a reviewed lesion each. ``PYTHONPATH=. python -m
tests.golden.old_studies`` writes anew what they come to today, ``old_studies.json``; a change of it
is argued in the commit that makes it. Two are pinned to every figure, the others to what must
never change.
"""

from __future__ import annotations

import hashlib
import json
import lzma
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.db import Database
from app.models import Delivery, ReaderStudy, Reading
from app.models.reader_studies.unblinded import Unblinded
from app.models.study_results import exports
from app.models.study_results.answers import Answers
from app.models.study_results.results import Results
from tests.golden.pins import plain

OLD = Path(__file__).with_name("old")
PINS = Path(__file__).with_name("old_studies.json")
NAMES = ("schema-0002", "schema-0006")
"""Pinned to every figure of their analysis."""
OTHERS = tuple(f"schema-{n:04}" for n in (3, 4, 5, *range(7, 35)))
"""Pinned to their protocols, readings and areas."""


def unpacked(name: str, folder: Path) -> Path:
    """The database of that name, as the version of its time left it."""
    path = folder / f"{name}.sqlite3"
    path.write_bytes(lzma.decompress((OLD / f"{name}.sqlite3.xz").read_bytes()))
    return path


def opened(name: str, folder: Path) -> Database:
    """The database of that name, brought to the present schema."""
    database = Database(f"sqlite:///{unpacked(name, folder)}")
    database.migrate()
    with database.transaction() as session:
        _send(session)
    return database


def _send(session: Session) -> None:
    """Their answers were written straight into the tables; so are the sendings of the pictures."""
    for study in session.scalars(sa.select(ReaderStudy)):
        if Delivery.kept_for(study.protocols[0]):
            answered = session.execute(sa.select(Reading.trial_id, Reading.answered_at))
            Delivery.keep(session, {row.trial_id: row.answered_at for row in answered})


def found_in(database: Database) -> dict[str, Any]:
    """What there is to know of the study in it."""
    with database.reading() as look, database.transaction() as db:
        study = look.scalars(sa.select(ReaderStudy)).one()
        results = Results.of(look, db, Unblinded(study), lambda *_: [])
        answers = Answers.of(db, Unblinded(study))
        content = json.loads(results.data)
        return plain(
            {
                "state": study.state,
                "holds": [one.holds for one in study.protocols],
                "digests": [one.digest for one in study.protocols],
                "design": study.design.to_json(),
                "trials": study.trials,
                "audit": [asdict(one) for one in results.audit],
                "cases": sorted(answers.cases.values()),
                "exports": bytes_of(db, answers),
                "result": content["result"],
                "curves": content["curves"],
                "readings": content["readings_sha256"],
            }
        )


def bytes_of(session: Session, answers: Answers) -> dict[str, str]:
    """Export → SHA-256 of its bytes, of every one that the study has."""
    without = exports.lacking(answers)
    return {
        name: hashlib.sha256(one.make(session, answers)).hexdigest()
        for name, one in exports.EXPORTS.items()
        if name not in without and not one.of_unaware
    }


def lasting(found: dict[str, Any]) -> dict[str, Any]:
    """Of what there is to know, what no later version may change."""
    readers = found["result"]["readers"]
    kept = {key: found[key] for key in ("state", "holds", "digests", "trials", "cases")}
    return kept | {"areas": {one["reader"]: one["auc"]["value"] for one in readers}}


def main() -> None:
    with TemporaryDirectory() as folder:
        found = {}
        for name in (*NAMES, *OTHERS):
            database = opened(name, Path(folder))
            whole = found_in(database)
            found[name] = whole if name in NAMES else lasting(whole)
            database.engine.dispose()
    PINS.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", "utf-8")


if __name__ == "__main__":
    main()
