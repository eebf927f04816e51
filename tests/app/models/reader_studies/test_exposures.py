"""What a reader knows already is not shown to them again."""

from __future__ import annotations

import pytest

import answered
import studies
from app.errors import Conflict, Forbidden, Unreadable
from app.models import Lesion, ReaderStudy, Stimulus
from app.models.reader_studies.content import ProtocolContent
from app.models.reader_studies.design import Design
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.exposure import Exposure
from ml.images.roi import Box
from ml.lesion import LIVER


@pytest.fixture
def researcher(session):
    return studies.make_user(session, "maker", "researcher")


@pytest.fixture
def ada(session):
    return studies.make_user(session, "ada")


def again(session, researcher, real=6, seed=8, **more) -> ReaderStudy:
    """Another study of what there is; its synthetic images are others."""
    asked = {"title": "Again", "scheme": LIVER, "real": real, "synthetic": 6, "seed": seed}
    return studies.compose(session, researcher, draw=studies.draw, **{**asked, **more})


def read(session, study, images) -> None:
    """The study's first reader answers the first ``images`` trials."""
    answered.answer(
        session, study, 1, lambda _stimulus, position: {"rating": 2} if position <= images else None
    )


def stop(session, study, researcher) -> None:
    """The first reader leaves: what they were to read they will not read."""
    Enrolment.of_study(session, study.id)[0].withdraw(session, researcher, "no reason given")


def test_nobody_is_enrolled_in_images_that_they_read_before(session, researcher, ada):
    study = studies.make_study(session, ada)
    read(session, study, 12)
    answered.unblind(session, study, researcher)
    with pytest.raises(Conflict, match="ada has read, or is to read, 6 of the 6 real lesions"):
        again(session, researcher).enrol(session, ada, researcher)


def test_a_reading_that_is_still_to_come_counts(session, researcher, ada):
    studies.make_study(session, ada)
    with pytest.raises(Conflict, match="6 of the 6"):
        again(session, researcher).enrol(session, ada, researcher)


def test_an_enrolment_in_two_drafts_stops_the_second_opening(session, researcher, ada):
    first = studies.make_study(session, ada, opened=False)
    second = again(session, researcher)
    second.enrol(session, ada, researcher)
    first.open(session, researcher, first.pictures(session, studies.draw))
    with pytest.raises(Conflict, match="6 of the 6"):
        second.open(session, researcher, second.pictures(session, studies.draw))


def test_practice_counts_and_what_was_never_shown_does_not(session, researcher, ada):
    study = studies.make_study(session, ada, real=3, synthetic=3, design=Design(practice=4))
    read(session, study, 4)  # the practice; the first image stands on the desk
    stop(session, study, researcher)
    trials = answered.trials_of(session, answered.enrolment_of(session, study, 1))
    seen = [trial.stimulus for trial in trials[:5]]
    assert sum(stimulus.practice for stimulus in seen) == 4
    known = Exposure.of(session, ada.id)
    assert known.read == {one.lesion_id for one in seen if one.lesion_id}
    assert known.synthetics == {(one.checkpoint_id, one.seed) for one in seen if one.checkpoint_id}


def test_a_reader_who_never_checked_in_has_seen_nothing(session, researcher, ada):
    study = studies.make_study(session, ada, checked_in=False)
    stop(session, study, researcher)
    assert Exposure.of(session, ada.id).read == frozenset()
    again(session, researcher).enrol(session, ada, researcher)


def test_the_same_seed_does_not_show_the_same_synthetic_images_again(session, researcher, ada):
    study = studies.make_study(session, ada, seed=7)
    read(session, study, 12)
    same = again(session, researcher, seed=7, design=Design(exclude_own=False))
    with pytest.raises(Conflict, match="6 of its 6 synthetic images in another"):
        same.enrol(session, ada, researcher)


def test_a_lesion_whose_box_was_drawn_anew_is_known_all_the_same(session, researcher, ada):
    study = studies.make_study(session, ada)
    read(session, study, 12)
    old = next(one.lesion for one in Stimulus.of_study(session, study.id) if one.lesion)
    new = Lesion.mark(session, old.image, Box(old.x + 2, old.y + 1, 20, 20), researcher)
    assert new.id in Exposure.of(session, ada.id).read


def test_composing_for_named_readers_leaves_out_what_they_read(session, researcher, ada):
    study = studies.make_study(session, ada, per_class=3, real=3, synthetic=3)
    read(session, study, 6)
    shown = {one.lesion_id for one in Stimulus.of_study(session, study.id) if one.lesion_id}
    with pytest.raises(Unreadable, match="There are 2 cyst"):
        again(session, researcher, real=9, without_lesions_of=[ada])
    free = again(session, researcher, real=6, without_lesions_of=[ada])
    assert not {item.lesion for item in free.plan.images.real} & set(shown)
    free.enrol(session, ada, researcher)


def test_the_protocol_says_whether_it_was_excluded(app, session, researcher, ada, signed_in_as):
    study = studies.make_study(session, ada)
    session.commit()
    page = signed_in_as("researcher", name="maker").get(f"/reader-studies/{study.id}").text
    assert "nobody reads an image that they read in another study" in page
    assert study.protocol.content_json["design"]["exclude_read"] is True
    earlier = {**study.protocol.content_json, "design": {"exclude_own": True}}  # frozen before
    assert ProtocolContent.from_json(earlier).design.exclude_read is False


def test_a_study_of_memory_may_show_them_again(session, researcher, ada):
    study = studies.make_study(session, ada)
    read(session, study, 12)
    answered.unblind(session, study, researcher)
    design = Design(exclude_read=False)
    assert again(session, researcher, design=design).enrol(session, ada, researcher)


def test_a_refused_enrolment_stays_on_the_page_and_enrols_nobody(
    app, session, researcher, ada, signed_in_as
):
    study = studies.make_study(session, ada)
    new = again(session, researcher)
    studies.make_user(session, "bob")
    session.commit()
    browser = signed_in_as("researcher", name="maker")
    address = f"/reader-studies/{new.id}/enrolments"
    refused = browser.post(address, data={"reader": ["bob", "ada"]})
    assert refused.status_code == 409
    assert "ada has read, or is to read, 6 of the 6" in refused.text
    assert '<h2 id="protocol">' in refused.text
    assert Enrolment.of_study(session, new.id) == []
    assert browser.post(address, data={"reader": "bob"}).status_code == 303
    assert len(Enrolment.of_study(session, study.id)) == 1


def test_a_researcher_who_reads_the_study_learns_no_number_from_a_refusal(session, researcher, ada):
    studies.make_study(session, ada)
    new = again(session, researcher, design=Design(exclude_own=False))
    new.enrol(session, researcher, researcher)
    with pytest.raises(Conflict, match="ada knows images of this study already") as refusal:
        new.enrol(session, ada, researcher)
    assert not any(letter.isdigit() for letter in refusal.value.detail)


# -- a researcher who reads blind learns nothing from what is left out or refused ------------------


@pytest.fixture
def rhea(session):
    """A researcher who reads a study of somebody else, and has not finished."""
    return studies.make_user(session, "rhea", "researcher")


@pytest.mark.parametrize("enrolled", ["rhea", "ada"])
def test_a_blinded_researcher_cannot_probe_which_lesions_they_read(
    session, researcher, rhea, ada, enrolled
):
    """A study of one lesion would be refused exactly when that lesion is in their reading."""
    studies.make_study(session, rhea)
    probe = again(session, rhea, real=1)
    person = {"rhea": rhea, "ada": ada}[enrolled]
    with pytest.raises(Forbidden, match="blinded reading to finish") as refusal:
        probe.enrol(session, person, rhea)
    assert "of the 1 real" not in refusal.value.detail
    chief = studies.make_user(session, "chief", "admin")  # who reads nothing
    probe.enrol(session, ada, chief)


def test_nor_by_opening_a_draft_with_readers_in_it(session, researcher, rhea, ada):
    first = studies.make_study(session, rhea, opened=False)
    probe = again(session, rhea, real=1)
    probe.enrol(session, ada, rhea)
    first.open(session, researcher, first.pictures(session, studies.draw))
    with pytest.raises(Forbidden, match="blinded reading to finish"):
        probe.open(session, rhea, probe.pictures(session, studies.draw))


def test_who_reads_their_own_study_alone_still_enrols_others_in_it(session, researcher, ada):
    study = studies.make_study(session, researcher, design=Design(exclude_own=False))
    study.enrol(session, ada, researcher)


def test_the_wizard_counts_nothing_without_named_readers_for_a_blinded_researcher(
    app, session, rhea, signed_in_as
):
    app.state.inference = studies.NoNetworks()
    studies.make_study(session, rhea)
    session.commit()
    browser = signed_in_as("researcher", name="rhea")
    begun = browser.post("/reader-studies/sketches", data={"title": "Probe", "preset": "own"})
    sketch = begun.headers["location"].rpartition("/")[0]
    typed = {"real": "400", "synthetic": "1", "kind": "phantom", "go": "next"}
    reply = browser.post(f"{sketch}/images", data={**typed, "without": "rhea"})
    page = browser.get(reply.headers["location"]).text
    assert "There are" not in page
    assert "blinded reading to finish" in page
    assert 'value="400"' in page  # what was typed is still there
    browser.post(f"{sketch}/images", data=typed)
    assert "There are" in browser.get(f"{sketch}/images").text  # the counts of everybody are told
