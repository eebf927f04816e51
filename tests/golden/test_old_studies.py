"""Reader studies of earlier versions open, verify and come to what they came to before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sqlalchemy as sa

from app.models import Case, Lesion, Review
from tests.golden import old_studies
from tests.golden.test_pins import differences

MIGRATIONS = Path(__file__).parents[2] / "migrations" / "versions"


@pytest.mark.parametrize("name", old_studies.NAMES)
def test_a_study_of_an_earlier_version_comes_to_the_same(name, tmp_path):
    pinned = json.loads(old_studies.PINS.read_text("utf-8"))[name]
    database = old_studies.opened(name, tmp_path)
    assert differences(old_studies.found_in(database), pinned, 1e-9) == []
    database.engine.dispose()


@pytest.mark.parametrize("name", old_studies.OTHERS)
def test_a_study_of_every_other_schema_opens_with_its_protocol_and_its_areas(name, tmp_path):
    pinned = json.loads(old_studies.PINS.read_text("utf-8"))[name]
    database = old_studies.opened(name, tmp_path)
    found = old_studies.lasting(old_studies.found_in(database))
    assert differences(found, pinned, 1e-9) == []
    assert found["holds"] == [True]
    database.engine.dispose()


def test_cases_of_the_first_schema_open_with_their_reviews(tmp_path):
    database = old_studies.opened("schema-0001", tmp_path)
    with database.reading() as session:
        assert len(session.scalars(sa.select(Case)).all()) == 2
        lesions = session.scalars(sa.select(Lesion)).all()
        reviews = {one.lesion_id: one for one in session.scalars(sa.select(Review))}
        for lesion in lesions:
            assert reviews[lesion.id].lesion_class == "cyst"
            assert lesion.roi(session, (-60, 260)).pixels.shape == (64, 64)
    database.engine.dispose()


def test_there_is_a_database_of_every_schema_before_this_one():
    made = {path.name[7:11] for path in old_studies.OLD.glob("schema-*.sqlite3.xz")}
    revisions = {path.name[:4] for path in MIGRATIONS.glob("0*.py")}
    # the newest has no earlier version that could have made one
    assert made >= revisions - {max(revisions)}
