"""Amendments: what is locked by the first answer, and what is told of what came later."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

import answered
import studies
from app.db import Database
from app.errors import Unreadable
from app.models import ReaderStudy, Reading, Trial
from app.models.reader_studies.design import (
    ANALYSIS,
    ANALYSIS_WITHOUT_CLASS,
    EARLIER_ANALYSIS,
    Design,
    fitting,
)
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.intent import UNSAID, Intent, Primary
from app.models.reader_studies.protocol import Progress, Protocol
from app.models.reader_studies.reading import Answer
from app.models.reader_studies.task import Task
from app.models.reader_studies.versions import Versions
from ml.readers.hypothesis import Claim, Hypothesis, Whose

WIDER = {"what": "margin", "text": "0.25", "reason": "because it would be shown then"}


@pytest.fixture
def study(session) -> ReaderStudy:
    """Open, with two readers of 12 trials each."""
    return studies.make_study(
        session, studies.make_user(session, "ada"), studies.make_user(session, "bea")
    )


@pytest.fixture
def maker(session):
    return studies.make_user(session, "maker", "researcher")


def give(session, study, position: int = 1, number: int = 1) -> Reading:
    enrolment = answered.enrolment_of(session, study, number)
    trial = answered.trials_of(session, enrolment)[position - 1]
    return Reading.give(session, enrolment, Answer(trial.token, f"k{position}", "cyst", 5))[0]


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "text", "said"),
    [
        ("margin", "0.4", "0.01 to 0.30"),
        ("primary", "better than chance", "no hypothesis"),
        ("primary", "generators differ | readers like these", "no images in the study"),
        ("primary", "equivalent to chance | these readers | someone else", "no images"),
        ("multiplicity", "Bonferroni", "Holm, none"),
        ("missing", "as I like", "all readers, complete readers, worst case"),
        ("margin_reason", "x" * 2001, "2000"),
    ],
)
def test_what_there_is_not_is_refused(session, study, maker, what, text, said):
    with pytest.raises(Unreadable, match=said):
        study.amend(session, maker, what=what, text=text, reason="a good reason")
    assert len(Protocol.of_study(session, study.id)) == 1


@pytest.mark.parametrize(
    ("primary", "said"),
    [
        (Primary(Claim.GENERATORS), "all synthetic images are of one"),
        (Primary(generator="nobody"), "there are none of it"),
    ],
)
def test_a_hypothesis_of_generators_that_are_not_shown_is_refused(session, primary, said):
    with pytest.raises(Unreadable, match=said):
        studies.make_study(session, design=Design(intent=Intent(primary)), opened=False)


def test_no_hypothesis_is_made_of_other_words():
    for text in ("", "equivalent to chance", "x | y", "generators differ | these readers | g"):
        with pytest.raises(Unreadable, match="Name one primary hypothesis"):
            Primary.typed(text)


# -- before and after the first answer ------------------------------------------------------------


def test_an_amendment_before_the_first_answer_is_what_the_study_is_judged_by(session, study, maker):
    study.amend(session, maker, **WIDER)
    versions = Versions.of(session, study.id)
    assert versions.primary.version == 2
    [one] = versions.amendments
    assert (one.late, one.after) == (False, "before the first answer")
    assert [(c.what, c.before, c.after) for c in one.changes] == [("margin", "0.10", "0.25")]
    assert give(session, study).protocol_version == 2


def test_an_amendment_after_the_first_answer_changes_nothing_of_the_plan(session, study, maker):
    study.amend(session, maker, what="margin", text="0.12", reason="a pilot study said so")
    for position in (1, 2):
        assert give(session, study, position).protocol_version == 2
    study.amend(session, maker, **WIDER)
    assert give(session, study, 3).protocol_version == 3
    key = "different from chance | these readers"
    study.amend(session, maker, what="primary", text=key, reason="it looks better so")
    versions = Versions.of(session, study.id)
    assert (versions.primary.version, versions.in_force.version) == (2, 4)
    assert versions.primary.content.design.margin == 0.12
    assert [one.after for one in versions.late] == [
        "after 2 answers of 24", "after 3 answers of 24",
    ]  # fmt: skip
    [change] = versions.late[1].changes
    assert change.words == "primary hypothesis"
    assert "equivalent to chance" in change.before and "differs from 0.5" in change.after
    assert versions.in_force.content.design.intent.primary == Primary(Claim.DIFFERENT, Whose.THESE)
    assert versions.in_force.holds


def test_amendments_from_before_answers_were_counted_go_by_their_times(session, study, maker):
    first = give(session, study)
    study.amend(session, maker, **WIDER)
    studies.tamper(session, "protocol")
    session.execute(sa.update(Protocol).values(answers=None, trials=None))
    session.expire_all()
    versions = Versions.of(session, study.id)
    [late] = versions.late
    assert late.after == "after 1 answer (by the times of the answers)"
    assert versions.primary.version == 1
    studies.tamper(session, "reading")
    later = versions.in_force.frozen_at + timedelta(seconds=1)
    session.execute(sa.update(Reading).values(answered_at=later))
    session.expire_all()
    assert Versions.of(session, study.id).primary.version == 2
    assert Progress.of(session, study.id) == Progress(1, 24)
    study.amend(session, maker, what="margin", text="0.3", reason="a third look at it")
    session.execute(
        sa.update(Protocol).where(Protocol.version == 3).values(answers=0)
    )  # as by a clock that was set back
    session.execute(sa.update(Protocol).where(Protocol.version == 2).values(answers=1))
    session.expire_all()
    assert Versions.of(session, study.id).primary.version == 1
    assert first.protocol_version == 1


def test_a_draft_of_an_earlier_version_names_no_hypothesis(session):
    stored = Design().to_json()
    del stored["intent"]
    assert Design.from_json(stored).intent == UNSAID
    assert Design.from_json(Design().to_json()) == Design()
    named = replace(Design(), intent=Intent(Primary(Claim.DIFFERENT, Whose.THESE, "a | b")))
    assert Design.from_json(named.to_json()) == named
    assert Hypothesis.of(named.intent.primary.key).generator == "a | b"


# -- at the same instant --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_an_amendment_and_the_first_answer_at_once_agree_on_which_came_first(
    kind, tmp_path, request
):
    address = (
        f"sqlite:///{tmp_path}/race.sqlite3"
        if kind == "sqlite"
        else request.getfixturevalue("postgres")
    )
    database = Database(address)
    database.migrate()
    with database.transaction() as session:
        study = studies.make_study(session, studies.make_user(session, "ada"))
        [enrolment] = Enrolment.of_study(session, study.id)
        token = session.scalars(sa.select(Trial.token).where(Trial.position == 1)).one()
        maker = studies.make_user(session, "maker")
    gate = threading.Barrier(2)

    def amend() -> None:
        gate.wait()
        with database.transaction() as session:
            mine = ReaderStudy.require(session, study.id, to_change=True)
            mine.amend(session, session.merge(maker), **WIDER)

    def answer() -> None:
        if kind == "sqlite":  # one writes at a time: inside, the other would never come
            gate.wait()
        with database.transaction() as session:
            mine = session.get(Enrolment, enrolment.id)
            if kind == "postgresql":  # the protocol was looked at before the other writes
                assert ReaderStudy.require(session, study.id).state == "open"
                gate.wait()
            Reading.give(session, mine, Answer(token, "key", "cyst", 5))

    threads = [threading.Thread(target=act) for act in (amend, answer)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    with database.reading() as session:
        versions = Versions.of(session, study.id)
        given = session.scalars(sa.select(Reading)).one()
        [amendment] = versions.amendments
        assert given.protocol_version == (1 if amendment.late else 2)
        assert versions.primary.version == given.protocol_version
    database.engine.dispose()


def test_the_plan_that_came_before_hypotheses_were_named_is_told_as_it_comes_now():
    assert fitting(EARLIER_ANALYSIS, Task.ORIGIN, lesion_class=True) == ANALYSIS
    assert fitting(EARLIER_ANALYSIS, Task.ORIGIN, lesion_class=False) == ANALYSIS_WITHOUT_CLASS
    assert fitting("My own.", Task.ORIGIN, lesion_class=True) == "My own."
