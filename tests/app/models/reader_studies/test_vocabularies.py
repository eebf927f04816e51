"""Words of a vocabulary: text in the database as ever, members in Python, strings at the door."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

import studies
from app.errors import Forbidden
from app.models import ReaderStudy, Stimulus, Trial
from app.models.reader_studies.desk import DeskState
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.stimulus import Source
from app.models.reader_studies.study import StudyState
from app.models.reader_studies.trial import TrialKind
from app.models.reader_studies.unblinded import Unblinded
from ml.images.ct_slice import ImageKind


def test_the_database_holds_the_words_that_it_held(session):
    studies.make_study(session, studies.make_user(session, "ada"))
    rows = session.execute(
        sa.text("SELECT DISTINCT kind, truth, trial_kind FROM (SELECT reader_study.kind, truth,"
                " trial.kind AS trial_kind FROM trial JOIN stimulus ON stimulus.id = stimulus_id"
                " JOIN reader_study ON reader_study.id = study_id) AS all_of_it ORDER BY truth")
    ).all()  # fmt: skip
    assert [tuple(row) for row in rows] == [
        ("phantom", "real", "first"),
        ("phantom", "synthetic", "first"),
    ]
    session.expire_all()
    study = session.scalars(sa.select(ReaderStudy)).one()
    assert study.kind is ImageKind.PHANTOM
    assert {one.truth for one in session.scalars(sa.select(Stimulus))} == set(Source)


def test_a_string_and_a_member_are_the_same_at_the_door(session):
    study = studies.make_study(session)
    assert study.class_mix("real") == study.class_mix(Source.REAL)
    for kind in ("first", TrialKind.FIRST):
        found = sa.select(sa.func.count()).select_from(Trial).where(Trial.kind == kind)
        assert session.scalar(found) == 0
    for truth in ("synthetic", Source.SYNTHETIC):
        asked = sa.select(sa.func.count()).select_from(Stimulus).where(Stimulus.truth == truth)
        assert session.scalar(asked) == 6


def test_a_word_that_is_not_in_the_vocabulary_is_not_stored(session):
    study = studies.make_study(session, studies.make_user(session, "ada"))
    [enrolment] = Enrolment.of_study(session, study.id)
    stimulus = Stimulus.of_study(session, study.id)[0]
    wrong = Trial(enrolment_id=enrolment.id, stimulus_id=stimulus.id, position=99, kind="fourth")
    refused = pytest.raises(sa.exc.StatementError, match="'fourth' is not a valid TrialKind")
    with refused, session.begin_nested():
        session.add(wrong)
    with pytest.raises(ValueError, match="is not a valid Source"):
        study.class_mix("drawn")


def test_states_follow_the_life_of_a_study(session):
    maker = studies.make_user(session, "maker", "researcher")
    study = studies.make_study(session, opened=False)
    assert study.state is StudyState.DRAFT
    with pytest.raises(Forbidden):
        Unblinded(study)
    study.open(session, maker, study.pictures(session, studies.draw))
    assert study.state is StudyState.OPEN
    with pytest.raises(Forbidden, match="before the study is unblinded"):
        Unblinded(study)
    study.unblind(session, maker, reason="the reading is done", typed="UNBLIND")
    assert study.state is StudyState.UNBLINDED
    unblinded = Unblinded(study)
    assert (unblinded.unblinding, unblinded.protocol) == (study.unblinding, study.protocol)
    assert {state.value for state in DeskState} == {
        "waiting", "conduct", "reading", "debriefing", "finished", "withdrawn", "closed",
    }  # fmt: skip
