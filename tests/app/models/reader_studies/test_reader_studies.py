"""Reader studies for their maker: what is refused, what is composed, frozen and found."""

from __future__ import annotations

import struct
from datetime import timedelta

import numpy as np
import pytest
import sqlalchemy as sa

import studies
from app.db import now
from app.errors import Conflict, Unreadable
from app.models import Blob, Case, Event, Protocol, ReaderStudy, Reading, Stimulus, Trial, User
from app.models.ground.append_only import Changed
from app.models.reader_studies.delivery import Delivery
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.reading import Answer
from app.models.reader_studies.stimulus import Picture, stimulus_png
from app.models.runs.known_lesions import KnownLesions
from ml.images.roi import from_png
from ml.lesion import LIVER


@pytest.fixture
def researcher(session):
    return studies.make_user(session, "maker", "researcher")


def compose(session, researcher, **more):
    asked = {"title": "T", "scheme": LIVER, "real": 3, "synthetic": 3, "seed": 1} | more
    return studies.compose(session, researcher, **asked)


def read_all(session, study, reader, rating):
    """Answer every trial of a reader; ``rating`` is a function of the stimulus."""
    enrolment = session.scalars(
        sa.select(Enrolment).where(Enrolment.study_id == study.id, Enrolment.reader_id == reader.id)
    ).one()
    trials = session.scalars(
        sa.select(Trial).where(Trial.enrolment_id == enrolment.id).order_by(Trial.position)
    )
    for trial in trials:
        Delivery.keep(session, {trial.id: now() - timedelta(seconds=4)})
        Reading.give(
            session,
            enrolment,
            Answer(trial.token, trial.token, "cyst", rating(trial.stimulus), active_ms=2000),
        )


def unblind(session, study, by):
    return study.unblind(session, by, reason="the reading is done", typed="UNBLIND")


# -- refusals -------------------------------------------------------------------------------------


def test_a_reader_composes_nothing(signed_in_as):
    reader = signed_in_as("reader")
    assert reader.get("/reader-studies/new").status_code == 403
    assert reader.post("/reader-studies/sketches", data={"title": "T"}).status_code == 403


def test_too_few_lesions_are_refused_with_the_counts_of_each_class(session, researcher):
    studies.make_generators(session)
    studies.make_known_lesions(session, 1)
    with pytest.raises(Unreadable) as refusal:
        compose(session, researcher, kind="phantom", real=6)
    assert "2 cyst, 2 metastasis, 2 hemangioma" in refusal.value.detail
    assert "There are 1 cyst, 1 metastasis, 1 hemangioma" in refusal.value.detail
    assert not session.scalars(sa.select(ReaderStudy)).all()


def test_real_ct_and_generators_of_phantoms_are_never_mixed(session, researcher):
    names = [row.name for row in studies.make_generators(session)]
    studies.make_known_lesions(session, 1, phantom=False)
    with pytest.raises(Unreadable, match="never mixed"):
        compose(session, researcher, kind="calibrated", generators=names)
    with pytest.raises(Unreadable, match="No served generator of the kind CT in Hounsfield"):
        compose(session, researcher, kind="calibrated")


def test_the_kind_must_be_chosen_when_there_are_several(session, researcher):
    studies.make_generators(session)
    studies.make_generators(session, training_kind="calibrated")
    studies.make_known_lesions(session, 1)
    for place, key in enumerate(LIVER.keys):
        [lesion] = studies.make_lesion(session, 500 + place, phantom=False)
        studies.review(session, lesion, key)
    with pytest.raises(Unreadable, match="several kinds"):
        compose(session, researcher)
    assert compose(session, researcher, kind="calibrated").kind == "calibrated"


def test_generators_of_different_windows_are_refused(session, researcher):
    studies.make_generators(session)
    other = studies.make_generators(session, window_hu=(-100.0, 400.0), word="other")
    studies.make_known_lesions(session, 1)
    one = [f"{studies.SOURCE_WORD}-phantom-{key}" for key in LIVER.keys[:2]]
    with pytest.raises(Unreadable, match="different windows"):
        compose(session, researcher, kind="phantom", generators=[*one, other[2].name])


def test_a_lesion_withdrawn_since_composing_stops_the_opening(session, researcher):
    study = studies.make_study(session, opened=False)
    lesion_id = study.plan.images.real[0].lesion
    session.get(studies.Lesion, lesion_id).withdraw(session, researcher)
    with pytest.raises(Conflict, match="withdrawn"):
        study.pictures(session, studies.draw)


def test_exact_copies_are_refused_at_opening(session, researcher):
    study = studies.make_study(session, opened=False)

    def same(_session, _checkpoint, seeds):
        return np.zeros((len(seeds), 64, 64), np.float32)

    with pytest.raises(
        Conflict,
        match=r"5 of the 12 images are exact copies of others: seed \d+ of .* = seed \d+ of",
    ):
        study.open(session, researcher, study.pictures(session, same))


def test_pictures_of_different_length_are_refused_at_opening(session, researcher):
    study = studies.make_study(session, opened=False)
    pictures = study.pictures(session, studies.draw)
    longer = Picture(pictures[0].png + b"\0", "real", "cyst", lesion_id=pictures[0].lesion_id)
    with pytest.raises(Conflict, match="differ in size"):
        study.open(session, researcher, [longer, *pictures[1:]])


def test_a_study_is_opened_once(session, researcher):
    study = studies.make_study(session)
    with pytest.raises(Conflict, match="opened before"):
        study.open(session, researcher, study.pictures(session, studies.draw))


def test_nobody_is_enrolled_twice_or_after_unblinding(session, researcher):
    ada = studies.make_user(session, "ada")
    study = studies.make_study(session, ada)
    with pytest.raises(Conflict, match="already"):
        study.enrol(session, ada, researcher)
    unblind(session, study, researcher)
    with pytest.raises(Conflict, match="closed"):
        study.enrol(session, studies.make_user(session, "bea"), researcher)


def test_unblinding_needs_an_open_study_a_reason_and_the_word(session, researcher):
    draft = studies.make_study(session, opened=False)
    with pytest.raises(Conflict, match="never opened"):
        unblind(session, draft, researcher)
    draft.open(session, researcher, draft.pictures(session, studies.draw))
    with pytest.raises(Unreadable, match="Say why"):
        draft.unblind(session, researcher, reason=" ", typed="UNBLIND")
    with pytest.raises(Unreadable, match="Type UNBLIND"):
        draft.unblind(session, researcher, reason="it is done", typed="unblind")
    assert draft.state == "open"
    unblind(session, draft, researcher)
    with pytest.raises(Conflict, match="before"):
        unblind(session, draft, researcher)


def test_a_case_in_a_study_cannot_be_deleted(signed_in_as, session):
    study = studies.make_study(session)
    lesion = Stimulus.of_study(session, study.id)
    case_id = next(one.lesion.case_id for one in lesion if one.lesion)
    pseudonym = session.get(Case, case_id).pseudonym
    session.commit()
    admin = signed_in_as("admin")
    reply = admin.post(f"/cases/{case_id}/deletion", data={"typed": pseudonym})
    assert reply.status_code == 409
    assert "reader study" in reply.text


def test_what_was_frozen_cannot_be_changed_or_deleted(session, researcher):
    ada = studies.make_user(session, "ada")
    study = studies.make_study(session, ada)
    read_all(session, study, ada, lambda _stimulus: 2)
    unblinding = unblind(session, study, researcher)
    rows = [
        (study.protocol, "reason"),
        (Stimulus.of_study(session, study.id)[0], "lesion_class"),
        (session.scalars(sa.select(Trial)).first(), "token"),
        (session.scalars(sa.select(Reading)).first(), "lesion_class"),
        (unblinding, "reason"),
    ]
    for row, field in rows:
        with pytest.raises(Changed, match="never changed"), session.begin_nested():
            setattr(row, field, "something else")
            session.flush()
        with pytest.raises(Changed, match="never deleted"), session.begin_nested():
            session.delete(row)
            session.flush()


# -- composing ------------------------------------------------------------------------------------


def test_classes_are_balanced_and_alike_in_both_sources(session, researcher):
    studies.make_generators(session)
    studies.make_known_lesions(session, 4)
    study = compose(session, researcher, real=10, synthetic=10)
    assert sorted(study.class_mix("real").values()) == [3, 3, 4]
    assert study.class_mix("real") == study.class_mix("synthetic")
    seeds = [item.seed for item in study.plan.images.synthetic]
    assert len(set(seeds)) == 10


def test_the_odd_image_goes_to_a_class_that_has_a_patient_to_spare(session, researcher):
    studies.make_generators(session)
    studies.make_known_lesions(session, 1)
    [spare] = studies.make_lesion(session, 900)
    studies.review(session, spare, "hemangioma")
    for seed in range(4):
        study = compose(session, researcher, real=4, seed=seed)
        assert study.class_mix("real") == {"cyst": 1, "metastasis": 1, "hemangioma": 2}


def test_each_real_image_is_of_another_patient_where_that_is_possible(session, researcher):
    """One patient has the only cyst; taking that patient for another class would be a mistake."""
    studies.make_generators(session)
    cyst, metastasis = studies.make_lesion(session, 1, boxes=[(40, 40), (90, 90)])
    studies.review(session, cyst, "cyst")
    studies.review(session, metastasis, "metastasis")
    for patient, key in ((2, "metastasis"), (3, "hemangioma")):
        [lesion] = studies.make_lesion(session, patient)
        studies.review(session, lesion, key)
    for seed in range(5):
        study = compose(session, researcher, seed=seed)
        lesions = {item.lesion for item in study.plan.images.real}
        assert cyst.id in lesions
        assert metastasis.id not in lesions
        assert study.notes == []


def test_a_study_says_when_patients_come_twice(session, researcher):
    studies.make_generators(session)
    lesions = studies.make_lesion(session, 1, boxes=[(40, 40), (90, 40), (64, 90)])
    for lesion, key in zip(lesions, LIVER.keys, strict=True):
        studies.review(session, lesion, key)
    [note] = compose(session, researcher).notes
    assert "3 real images come from 1 patient:" in note


def test_the_newest_standing_review_counts_and_pathology_before_others(session, researcher):
    [lesion] = studies.make_lesion(session, 1)
    other = studies.make_user(session, "other", "researcher")

    def known():
        pool = KnownLesions.of(session, LIVER)
        return [(item.lesion_class, item.basis) for item in pool.lesions]

    assert known() == []
    studies.review(session, lesion, "cyst", basis="imaging")
    studies.review(session, lesion, "metastasis", basis="imaging", by=other)
    assert known() == [("metastasis", "imaging only")]
    studies.review(session, lesion, "hemangioma", basis="pathology")
    studies.review(session, lesion, "metastasis", basis="follow_up", by=other)
    assert known() == [("hemangioma", "pathology")]
    studies.review(session, lesion, "cannot_tell", basis="pathology")
    assert known() == [("metastasis", "follow-up")]
    studies.review(session, lesion, "other", basis="imaging", by=other)
    assert known() == []


def test_withdrawn_lesions_and_excluded_cases_are_not_in_the_pool(session, researcher):
    [kept, gone, left_out] = studies.make_known_lesions(session, 1)
    gone.withdraw(session, researcher)
    pool = KnownLesions.of(session, LIVER, without_cases=[left_out.case_id])
    assert [item.id for item in pool.lesions] == [kept.id]


def test_the_same_seed_composes_the_same_study(session, researcher):
    studies.make_generators(session)
    studies.make_known_lesions(session, 4)
    one, again, other = (compose(session, researcher, seed=seed) for seed in (5, 5, 6))
    assert one.plan == again.plan
    assert one.plan != other.plan


# -- stimuli and protocol -------------------------------------------------------------------------


def chunks(png: bytes) -> list[bytes]:
    kinds, place = [], 8
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        kinds.append(png[place + 4 : place + 8])
        place += 12 + length
    return kinds


def test_every_stimulus_has_the_same_bytes_but_for_its_pixels():
    rng = np.random.default_rng(3)
    rois = [
        np.full((64, 64), -1, np.float32),
        rng.uniform(-1, 1, (64, 64)).astype(np.float32),
        np.linspace(-3, 3, 4096, dtype=np.float32).reshape(64, 64),
    ]
    made = [stimulus_png(roi) for roi in rois]
    assert len({len(png) for png in made}) == 1
    for png, roi in zip(made, rois, strict=True):
        assert chunks(png) == [b"IHDR", b"IDAT", b"IEND"]
        assert np.abs(from_png(png) - np.clip(roi, -1, 1)).max() <= 1 / 255 + 1e-6
    with pytest.raises(ValueError, match="finite"):
        stimulus_png(np.full((64, 64), np.nan, np.float32))


def test_real_and_synthetic_pass_one_renderer_to_one_size(session):
    study = studies.make_study(session)
    stimuli = Stimulus.of_study(session, study.id)
    assert [one.truth for one in stimuli].count("real") == 6
    assert [one.truth for one in stimuli].count("synthetic") == 6
    pngs = [Blob.read(session, one.pixels_digest) for one in stimuli]
    assert len({len(png) for png in pngs}) == 1
    real = next(one for one in stimuli if one.lesion)
    shown = from_png(Blob.read(session, real.pixels_digest))
    assert np.abs(shown - real.lesion.roi(session, (-150, 250)).pixels).max() <= 1 / 255 + 1e-6


def test_the_protocol_holds_what_affects_a_reader_and_shows_tampering(session):
    study = studies.make_study(session)
    protocol = study.protocol
    assert protocol.version == 1
    assert protocol.holds
    assert len(protocol.content_json["images"]) == 12
    assert protocol.content_json["order"]["seed"] == study.seed
    assert [one["key"] for one in protocol.content_json["questions"]["classes"]] == list(LIVER.keys)
    studies.tamper(session, "protocol")
    session.execute(
        sa.update(Protocol).values(content_json={**protocol.content_json, "title": "another"})
    )
    session.expire(protocol)
    assert not protocol.holds


def test_orders_are_stored_differ_between_readers_and_come_from_the_seed(session, researcher):
    readers = [studies.make_user(session, name) for name in ("ada", "bea", "cid")]
    study = studies.make_study(session, *readers[:2])
    late = study.enrol(session, readers[2], researcher)
    digests = [one.pixels_digest for one in Stimulus.of_study(session, study.id)]
    assert digests == sorted(digests)
    orders = []
    for enrolment in Enrolment.of_study(session, study.id):
        trials = session.scalars(
            sa.select(Trial).where(Trial.enrolment_id == enrolment.id).order_by(Trial.position)
        ).all()
        shown = [trial.stimulus.pixels_digest for trial in trials]
        drawn = np.random.default_rng(enrolment.order_seed).permutation(len(digests))
        assert shown == [digests[index] for index in drawn]
        assert [trial.position for trial in trials] == list(range(1, 13))
        orders.append(tuple(shown))
    assert len(set(orders)) == 3
    assert late.number == 3
    tokens = session.scalars(sa.select(Trial.token)).all()
    assert len(set(tokens)) == 36
    assert {len(token) for token in tokens} == {32}


# -- the whole way --------------------------------------------------------------------------------


def test_the_whole_way_in_the_browser(app, signed_in_as, session):
    app.state.inference = studies.NoNetworks()
    studies.make_generators(session)
    studies.make_known_lesions(session, 2)
    studies.make_user(session, "ada")
    session.commit()
    browser = signed_in_as("researcher")
    assert "No reader study yet" in browser.get("/reader-studies").text
    assert browser.get("/reader-studies/new").status_code == 200
    begun = browser.post("/reader-studies/sketches", data={"title": "First", "preset": "own"})
    images = {"scheme": "liver", "kind": "phantom", "real": "3", "synthetic": "3"}
    assert browser.post(begun.headers["location"], data=images).status_code == 303
    sketch = begun.headers["location"].rpartition("/")[0]
    made = browser.post(f"{sketch}/composition")
    assert made.status_code == 303, made.text
    url = made.headers["location"]
    assert browser.get(url).status_code == 200
    assert browser.post(f"{url}/enrolments", data={"reader": "ada"}).status_code == 303
    assert browser.post(f"{url}/opening").status_code == 303
    assert browser.post(f"{url}/opening").status_code == 409
    shown = browser.get(url).text
    assert "0 of 6" in shown
    study = session.scalars(sa.select(ReaderStudy)).one()
    assert study.protocol.digest in shown
    with pytest.raises(Conflict, match="Check in first"):
        read_all(session, study, User.named(session, "ada"), lambda _one: 4)
    [enrolment] = Enrolment.of_study(session, study.id)
    studies.check_in(session, enrolment, study)
    read_all(session, study, User.named(session, "ada"), lambda _one: 4)
    session.commit()
    assert "6 of 6" in browser.get("/reader-studies").text
    refused = browser.post(f"{url}/unblinding", data={"reason": "my own reason", "typed": "yes"})
    assert refused.status_code == 422
    assert "my own reason" in refused.text
    act = {"reason": "my own reason", "typed": "UNBLIND"}
    assert browser.post(f"{url}/unblinding", data=act).status_code == 303
    session.expire_all()
    results = browser.get(f"{url}/results")
    assert "One reader, 6 images (3 real, 3 synthetic)." in results.text
    assert "my own reason" in results.text
    events = session.scalars(sa.select(Event.kind).where(Event.subject == str(study.id))).all()
    assert events.count("reader study unblinded") == 1
    assert events.count("reader study opened") == 1
