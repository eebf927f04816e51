"""Rehearsals: simulated readers through the real analysis, before anyone reads."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa

import studies
from app.errors import Unreadable
from app.models import Reading
from app.models.reader_studies.rehearsal import Asked

LINES = {"accept": "application/x-ndjson"}


@pytest.fixture
def study(session):
    made = studies.make_study(session, opened=False)
    session.commit()
    return made


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (Asked(readers=0), "1 to 20 readers"),
        (Asked(studies=51), "1 to 50 studies"),
        (Asked(area=0.4), "0.50 to 0.99"),
        (Asked(area=float("nan")), "0.50 to 0.99"),
        (Asked(seed=-1), "seed"),
    ],
)
def test_what_cannot_be_rehearsed_is_refused_with_the_reason(study, asked, why):
    with pytest.raises(Unreadable, match=why):
        asked.rehearsal(study)


def test_a_reader_rehearses_nothing(signed_in_as, study):
    assert signed_in_as("reader").get(f"/reader-studies/{study.id}/rehearsal").status_code == 403


def test_a_refused_form_says_why_and_keeps_what_was_typed(signed_in_as, study):
    browser = signed_in_as("researcher")
    reply = browser.get(f"/reader-studies/{study.id}/rehearsal?readers=99&run=1")
    assert reply.status_code == 422
    assert "1 to 20 readers" in reply.text
    assert 'value="99"' in reply.text


def test_the_rehearsal_has_the_studys_own_numbers_and_tells_its_progress(
    signed_in_as, session, study
):
    url = f"/reader-studies/{study.id}/rehearsal?readers=3&studies=4&area=0.7&seed=1&run=1"
    browser = signed_in_as("researcher")
    told = [json.loads(line) for line in browser.get(url, headers=LINES).text.splitlines()]
    assert told[:-1] == [{"done": done, "total": 4} for done in (1, 2, 3, 4)]
    assert "4 simulated studies of 3 readers and 12 images (50 % synthetic)" in told[-1]["html"]
    assert told[-1]["html"] in browser.get(url).text  # the same without a script
    assert not session.scalars(sa.select(Reading)).all()


def test_guessing_readers_are_seldom_called_different_and_clear_ones_often(study):
    verdicts = []
    for area in (0.5, 0.95):
        ready = Asked(readers=4, studies=12, area=area).rehearsal(study)
        for _ in ready.run():
            pass
        verdicts.append(ready.outcome().verdicts.per_reader.different)
    assert verdicts[0] < 0.3 < verdicts[1]


def test_one_reader_is_rehearsed_and_nothing_is_said_of_others(signed_in_as, study):
    url = f"/reader-studies/{study.id}/rehearsal?readers=1&studies=2&run=1"
    assert "too few readers to speak of others" in signed_in_as("researcher").get(url).text
