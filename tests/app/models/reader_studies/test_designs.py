"""Designs of reader studies: chosen, frozen, audited, carried out; and ways out of them."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import sqlalchemy as sa

import studies
from app.errors import Conflict, Damaged, Forbidden, Unreadable
from app.models import (
    Blob,
    Checkpoint,
    Conduct,
    Event,
    LeakAudit,
    ReaderStudy,
    Reading,
    Stimulus,
    Trial,
)
from app.models.reader_studies.audit import Audited, coloured, details_of
from app.models.reader_studies.design import ANALYSIS, DESIGNS, INSTRUCTIONS, Design
from app.models.reader_studies.desk import Desk, Feedback
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.look import Look
from app.models.reader_studies.protocol import Protocol
from app.models.reader_studies.questions import Choices
from app.models.reader_studies.reading import Answer
from app.models.reader_studies.stimulus import Picture, Source, stimulus_png
from app.models.reader_studies.trial import chosen_to_repeat, with_repeats
from app.models.reader_studies.unblinded import Unblinded
from app.models.runs.dataset import DatasetVersion
from ml.lesion import LIVER, LesionScheme
from ml.statistics.likeness import FLOOR, Likeness

JSON = {"accept": "application/json"}


@pytest.fixture
def researcher(session):
    return studies.make_user(session, "maker", "researcher")


@pytest.fixture
def ada(session):
    return studies.make_user(session, "ada")


def enrolment_of(session, study) -> Enrolment:
    [made] = Enrolment.of_study(session, study.id)
    return made


def trials(session, enrolment) -> list[Trial]:
    return list(
        session.scalars(
            sa.select(Trial).where(Trial.enrolment_id == enrolment.id).order_by(Trial.position)
        )
    )


def answer(trial, rating=2, **more) -> Answer:
    return Answer(trial.token, more.pop("key", trial.token), "cyst", rating, **more)


def count(session, model) -> int:
    return session.scalar(sa.select(sa.func.count()).select_from(model))


# -- composing ------------------------------------------------------------------------------------


def test_the_papers_design_is_refused_with_the_counts_that_are_missing(session, researcher):
    studies.make_generators(session)
    studies.make_known_lesions(session, 1)
    paper = DESIGNS["paper"]
    assert (sum(paper.real.values()), sum(paper.synthetic.values())) == (182, 120)
    with pytest.raises(Unreadable, match="53 cyst, 64 metastasis, 65 hemangioma") as refusal:
        studies.compose(
            session, researcher, title="T", scheme=LIVER, real=paper.real,
            synthetic=paper.synthetic, design=paper.design,
        )  # fmt: skip
    assert "There are 1 cyst, 1 metastasis, 1 hemangioma" in refusal.value.detail


def test_numbers_per_class_are_kept(session, researcher):
    studies.make_generators(session)
    studies.make_known_lesions(session, 3)
    study = studies.compose(
        session, researcher, title="T", scheme=LIVER, seed=1,
        real={"cyst": 1, "metastasis": 3, "hemangioma": 2},
        synthetic={"cyst": 2, "metastasis": 0, "hemangioma": 1},
    )  # fmt: skip
    assert study.class_mix(Source.REAL) == {"cyst": 1, "metastasis": 3, "hemangioma": 2}
    assert study.class_mix(Source.SYNTHETIC) == {"cyst": 2, "metastasis": 0, "hemangioma": 1}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"repeats": 7}, "from 0 to 6 repeats"),
        ({"repeats": 2, "repeat_distance": 7}, "1 to 6 trials apart"),
        ({"practice": 1}, "practice images"),
        ({"break_every": 2}, "5 to 500 trials"),
        ({"interpolation": "fancy"}, "interpolation"),
        ({"lesion_class": False, "class_confidence": True}, "both, or for neither"),
        ({"near_limit": 1.0}, "limit of likeness"),
        ({"size_mm": 5.0}, "20 to 300 mm"),
        ({"margin": 0.5}, "margin"),
        ({"least_off": 0.01}, "off the commonest rating, not 1 %"),
        ({"least_ratings": 1}, "ratings that a reader must use, not 1"),
        ({"consent": " "}, "consent text"),
        ({"consent_date": "today"}, "YYYY-MM-DD"),
    ],
)
def test_a_design_that_cannot_be_carried_out_is_refused(wrong, said):
    with pytest.raises(Unreadable, match=said):
        replace(Design(), **wrong).checked(12)


def test_lesions_of_named_readers_are_left_out_and_nobody_reads_their_own(session, researcher, ada):
    studies.make_generators(session)
    own, *_ = studies.make_known_lesions(session, 2)
    studies.review(session, own, "cyst", by=ada)
    asked = {"title": "T", "scheme": LIVER, "synthetic": 3, "seed": 1}
    study = studies.compose(session, researcher, real=6, **asked)
    with pytest.raises(Conflict, match="ada marked or reviewed 1 of the 6"):
        study.enrol(session, ada, researcher)
    with pytest.raises(Unreadable, match="There are 1 cyst"):
        studies.compose(session, researcher, real=6, without_lesions_of=[ada], **asked)
    free = studies.compose(session, researcher, real=3, without_lesions_of=[ada], **asked)
    assert own.id not in {item.lesion for item in free.plan.images.real}
    free.enrol(session, ada, researcher)


def test_a_reader_who_reviewed_a_lesion_since_the_enrolment_stops_the_opening(
    session, researcher, ada
):
    study = studies.make_study(session, ada, opened=False)
    lesion = session.get(studies.Lesion, study.plan.images.real[0].lesion)
    studies.review(session, lesion, "cyst", by=ada)
    with pytest.raises(Conflict, match="ada marked or reviewed"):
        study.open(session, researcher, study.pictures(session, studies.draw))


def test_synthetic_images_too_like_a_real_one_are_drawn_anew_in_any_orientation(
    session, researcher
):
    studies.make_generators(session)
    lesions = studies.make_known_lesions(session, 1)
    copied = lesions[0].roi(session, (-150.0, 250.0)).pixels
    plain = {"title": "T", "scheme": LIVER, "real": 3, "synthetic": 3, "seed": 4}
    first = studies.compose(session, researcher, **plain).plan.images.synthetic[0].seed

    def thief(session, checkpoint, seeds):
        drawn = studies.draw(session, checkpoint, seeds)
        for place, seed in enumerate(seeds):
            if seed == first:
                drawn[place] = np.rot90(copied)[:, ::-1]
        return drawn

    near = replace(Design(), exclude_near=True)
    study = studies.compose(session, researcher, **plain, design=near, draw=thief)
    assert first not in {item.seed for item in study.plan.images.synthetic}
    told = " ".join(study.notes)
    assert "1 synthetic image was drawn anew" in told
    assert f"{studies.SOURCE_WORD}-phantom-cyst" in told
    assert "training ROIs are not kept in this database" in told
    with pytest.raises(Unreadable, match="stay too like a real one"):
        studies.compose(
            session, researcher, **plain, design=near,
            draw=lambda _s, _c, seeds: np.stack([copied] * len(seeds)),
        )  # fmt: skip


def test_synthetic_images_too_like_a_training_roi_of_their_generator_are_drawn_anew(
    session, researcher
):
    generators = studies.make_generators(session)
    studies.make_known_lesions(session, 1)
    [trained_on] = studies.make_lesion(session, 70, boxes=[(44, 84)])  # unlike the others
    studies.review(session, trained_on, "cyst")
    version = frozen(session, researcher, "trained")
    learner = session.get(Checkpoint, generators[0].id)
    session.execute(  # of the three only this one was trained on the version
        sa.update(Checkpoint)
        .where(Checkpoint.id == learner.id)
        .values(dataset_digest=version.digest)
    )
    session.expire_all()
    plain = {"title": "T", "scheme": LIVER, "real": 3, "synthetic": 3, "seed": 4,
             "without_cases": {trained_on.case_id}}  # fmt: skip
    planned = studies.compose(session, researcher, **plain).plan.images.synthetic
    first = {item.lesion_class: item.seed for item in planned}
    copied = trained_on.roi(session, (-150.0, 250.0)).pixels

    def thief(session, checkpoint, seeds):
        drawn = studies.draw(session, checkpoint, seeds)
        for place, seed in enumerate(seeds):
            if seed in first.values():
                drawn[place] = np.rot90(copied, 3)
        return drawn

    near = replace(Design(), exclude_near=True, near_limit=0.95)
    study = studies.compose(session, researcher, **plain, design=near, draw=thief)
    kept = {item.lesion_class: item.seed for item in study.plan.images.synthetic}
    assert kept["cyst"] != first["cyst"]  # its own training ROI, in no pool of this study
    assert {kept[key] == first[key] for key in ("metastasis", "hemangioma")} == {True}
    told = study.sources.to_json()["likeness"]
    assert (told["drawn_anew"], told["real"]) == (1, {"rois": 3, "limit": 0.95})
    assert [row["version"] for row in told["training"]] == ["trained", None, None]
    notes = " ".join(study.notes)
    assert "Training ROIs compared: 4 of the dataset version trained" in notes
    study.open(session, researcher, study.pictures(session, studies.draw))
    assert study.protocol.content_json["sources"]["likeness"] == told


def frozen(session, researcher, name) -> DatasetVersion:
    """Every lesion with a known class, as a dataset version."""
    archive = DatasetVersion.pack(session, name, LIVER, "phantom")
    return DatasetVersion.freeze(session, researcher, archive)


def test_real_images_come_from_the_chosen_versions_with_the_frozen_class(session, researcher):
    studies.make_generators(session)
    lesions = studies.make_known_lesions(session, 2)
    version = frozen(session, researcher, "first")
    assert set(version.classes(session)) == {one.id for one in lesions}
    studies.review(session, lesions[0], "metastasis")  # said to be another since
    later = studies.make_known_lesions(session, 1, first=50)
    asked = {"title": "T", "scheme": LIVER, "real": 6, "synthetic": 3, "seed": 1}
    study = studies.compose(session, researcher, versions=["first"], **asked)
    shown = {item.lesion: item.lesion_class for item in study.plan.images.real}
    assert shown == version.classes(session)
    assert shown[lesions[0].id] == "cyst"
    study.open(session, researcher, study.pictures(session, studies.draw))
    assert study.protocol.content_json["sources"] == {
        "real": "dataset versions",
        "versions": [{"name": "first", "digest": version.digest, "rois": 6}],
        "likeness": None,
    }
    with pytest.raises(Unreadable, match="There are 2 cyst, 2 metastasis, 2 hemangioma in first"):
        studies.compose(session, researcher, versions=["first"], **{**asked, "real": 7})
    frozen(session, researcher, "second")
    with pytest.raises(Unreadable, match="1 lesion has another class in the dataset version sec"):
        studies.compose(session, researcher, versions=["first", "second"], **asked)
    every = {"cyst": 2, "metastasis": 4, "hemangioma": 3}
    both = studies.compose(session, researcher, versions=["second"], **{**asked, "real": every})
    assert {one.id for one in later} < {item.lesion for item in both.plan.images.real}
    with pytest.raises(Unreadable, match="no dataset version named 'third'"):
        studies.compose(session, researcher, versions=["third"], **asked)


def test_a_lesion_withdrawn_since_is_left_out_of_a_version_and_a_note_says_so(session, researcher):
    studies.make_generators(session)
    lesions = studies.make_known_lesions(session, 2)
    frozen(session, researcher, "first")
    lesions[0].withdraw(session, researcher)
    asked = {"title": "T", "scheme": LIVER, "synthetic": 3, "seed": 1, "versions": ["first"]}
    with pytest.raises(Unreadable, match="There are 1 cyst"):
        studies.compose(session, researcher, real=6, **asked)
    study = studies.compose(session, researcher, real=5, **asked)
    assert lesions[0].id not in {item.lesion for item in study.plan.images.real}
    assert "1 lesion withdrawn since" in study.notes[0]


def test_a_version_of_another_scheme_is_refused(session, researcher):
    studies.make_generators(session)
    studies.make_known_lesions(session, 1)
    version = frozen(session, researcher, "first")
    other = LesionScheme("two", LIVER.classes[:2])
    with pytest.raises(Unreadable, match="has the classes cyst, metastasis, hemangioma, and"):
        DatasetVersion.joint_classes(session, [version], other)


def test_likeness_does_not_depend_on_brightness_or_contrast():
    rng = np.random.default_rng(1)
    real = [rng.normal(size=(64, 64)).astype(np.float32) for _ in range(3)]
    likeness = Likeness(real, ["a", "b", "c"])
    same, other = likeness.nearest([0.2 * real[1].T - 0.1, rng.normal(size=(64, 64))])
    assert same > 0.999
    assert other < 0.5
    assert likeness.limit == FLOOR


# -- order ----------------------------------------------------------------------------------------


def test_repeats_come_once_more_and_far_enough():
    order = list(range(20))
    for seed in range(20):
        rng = np.random.default_rng(seed)
        shown = with_repeats(order, [3, 5, 8, 13], 9, rng)
        assert len(shown) == 24
        for index in order:
            places = [place for place, one in enumerate(shown) if one == index]
            assert len(places) == (2 if index in (3, 5, 8, 13) else 1)
            if len(places) == 2:
                assert places[1] - places[0] >= 9


def test_repeats_fit_even_where_drawing_them_fails():
    rng = np.random.default_rng(0)
    shown = with_repeats(range(10), range(10), 10, rng)
    assert shown[:10] == shown[10:]


def test_practice_comes_first_and_repeats_are_of_both_sources(session, ada):
    design = Design(practice=4, repeats=4, repeat_distance=4)
    study = studies.make_study(session, ada, per_class=4, design=design)
    shown = trials(session, enrolment_of(session, study))
    assert [one.kind for one in shown[:4]] == ["practice"] * 4
    assert sorted(one.stimulus.truth for one in shown[:4]) == ["real"] * 2 + ["synthetic"] * 2
    assert len(shown) == study.trials == 4 + 12 + 4
    repeats = [one for one in shown if one.kind == "repeat"]
    assert sorted(one.stimulus.truth for one in repeats) == ["real"] * 2 + ["synthetic"] * 2
    for one in repeats:
        first = session.get(Trial, one.repeats_id)
        assert (first.kind, first.stimulus_id) == ("first", one.stimulus_id)
        assert one.position - first.position >= 4
    main = {one.stimulus_id for one in shown if one.kind != "practice"}
    assert main == {one.id for one in Stimulus.of_study(session, study.id)}
    assert not main & {one.stimulus_id for one in shown[:4]}
    stimuli = Stimulus.of_study(session, study.id)
    assert [stimuli[place].id for place in chosen_to_repeat(stimuli, 4, study.seed)] == [
        one.id for one in stimuli if one.id in {row.stimulus_id for row in repeats}
    ]


def test_keys_of_all_questions_never_collide():
    choices = Choices.of(LIVER, confidence=True, reasons=True)
    every = (*choices.classes, *choices.ratings, *choices.confidences, *choices.reasons)
    keys = [item.hotkey for item in every] + [choices.pause_key]
    assert len(set(keys)) == len(keys) == 3 + 6 + 5 + 5 + 1


# -- freezing and amending ------------------------------------------------------------------------


def test_the_protocol_freezes_design_texts_and_audit(session):
    design = Design(class_confidence=True, margin=0.08, ethics_reference="EC 7", break_every=6)
    study = studies.make_study(session, design=design)
    content = study.protocol.content_json
    assert content["design"]["class_confidence"] is True
    assert content["margin"] == 0.08
    assert content["ethics_reference"] == "EC 7"
    assert content["consent"] == {"text": design.consent, "version": "1", "date": ""}
    assert content["audit"]["verdict"] in ("green", "amber")
    assert len(content["questions"]["confidences"]) == 5
    session.execute(sa.update(ReaderStudy).values(design_json=Design(back=True).to_json()))
    session.expire(study)
    assert study.design == replace(design)  # what was composed no longer matters


def test_an_amendment_is_a_version_with_who_when_and_why(session, researcher):
    study = studies.make_study(session)
    first = study.protocol.digest
    study.amend(session, researcher, what="margin", text="0.12", reason="asked for by a reviewer")
    assert [row.version for row in study.protocols] == [1, 2]
    amended = study.protocol
    assert amended.content_json["margin"] == 0.12
    assert amended.digest != first
    assert (amended.frozen_by.name, amended.reason) == ("maker", "asked for by a reviewer")
    assert amended.holds
    same = {key: value for key, value in amended.content_json.items() if key != "margin"}
    assert same == {
        key: value for key, value in study.protocols[0].content_json.items() if key != "margin"
    }


@pytest.mark.parametrize("what", ["instructions", "questions", "images", "design", "consent", ""])
def test_what_readers_see_cannot_be_amended(session, researcher, what):
    study = studies.make_study(session)
    with pytest.raises(Unreadable, match="is frozen"):
        study.amend(session, researcher, what=what, text="other", reason="a good reason")
    assert count(session, Protocol) == 1


def test_an_amendment_needs_a_reason_a_change_and_an_open_study(session, researcher):
    draft = studies.make_study(session, opened=False)
    good = {"what": "notes", "text": "a note", "reason": "a good reason"}
    with pytest.raises(Conflict, match="Only an open study"):
        draft.amend(session, researcher, **good)
    draft.open(session, researcher, draft.pictures(session, studies.draw))
    with pytest.raises(Unreadable, match="Say why"):
        draft.amend(session, researcher, **good | {"reason": " "})
    draft.amend(session, researcher, **good)
    with pytest.raises(Unreadable, match="changes nothing"):
        draft.amend(session, researcher, **good)
    draft.unblind(session, researcher, reason="it is done", typed="UNBLIND")
    with pytest.raises(Conflict, match="closed"):
        draft.amend(session, researcher, **good | {"text": "another"})


# -- leak audit -----------------------------------------------------------------------------------


def leaking(pictures: list[Picture]) -> list[Picture]:
    """Synthetic images on every second grey level only: a comb, which is rendering."""
    combed = []
    for one in pictures:
        if one.truth == Source.SYNTHETIC:
            rng = np.random.default_rng(one.seed)
            pixels = rng.integers(40, 90, (64, 64)) * 2 / 127.5 - 1
            one = replace(one, png=stimulus_png(pixels.astype(np.float32)))
        combed.append(one)
    return combed


def test_a_stored_audit_that_is_none_is_refused(session, researcher):
    study = studies.make_study(session, opened=False)
    pictures = study.pictures(session, studies.draw)
    row = LeakAudit.of(session, study.id, pictures, researcher)
    assert row.details.to_json() == row.record
    with pytest.raises(Damaged, match="mood: nothing of that name"):
        details_of(row.record | {"mood": "good"})


def test_a_red_audit_blocks_the_opening(session, researcher):
    study = studies.make_study(session, per_class=4, real=12, synthetic=12, opened=False)
    pictures = leaking(study.pictures(session, studies.draw))
    assert Audited.of(pictures).record.verdict == "red"
    with pytest.raises(Conflict, match="leak audit is red"):
        study.open(session, researcher, pictures)
    assert study.state == "draft"


def test_a_red_audit_is_kept_and_shown_when_the_opening_stops(
    app, session, signed_in_as, monkeypatch
):
    app.state.inference = studies.NoNetworks()
    study = studies.make_study(session, per_class=4, real=12, synthetic=12, opened=False)
    session.commit()
    pictures = ReaderStudy.pictures
    monkeypatch.setattr(ReaderStudy, "pictures", lambda *given: leaking(pictures(*given)))
    browser = signed_in_as("researcher", name="maker")
    moved = browser.post(f"/reader-studies/{study.id}/opening")
    assert moved.headers["location"] == f"/reader-studies/{study.id}/audit"
    shown = browser.get(moved.headers["location"]).text
    assert "The study cannot open" in shown
    assert "odd grey values" in shown and "Show these images" in shown
    session.expire_all()
    assert study.state == "draft"
    audit = LeakAudit.latest(session, study.id)
    assert audit.verdict == "red"
    told = coloured(audit.record)
    assert len(told) == 24 and set(told.values()) == {"red"}
    images = browser.get(f"/reader-studies/{study.id}/audit/pictures").text
    assert all(digest[:12] in images for digest in told)
    assert images.count("data:image/png;base64,") == 24
    seen = session.scalars(sa.select(Look.of)).all()
    assert seen.count("lesion") == seen.count("synthetic") == 12


def test_the_images_that_an_audit_names_are_shown_to_nobody_while_the_study_is_open(
    app, session, signed_in_as
):
    app.state.inference = studies.NoNetworks()
    study = studies.make_study(session)
    session.commit()
    browser = signed_in_as("researcher", name="maker")
    refused = browser.get(f"/reader-studies/{study.id}/audit/pictures")
    assert refused.status_code == 409 and "before the Unblinding" in refused.text


def test_practice_is_audited_with_the_study(session, researcher):
    study = studies.make_study(session, per_class=4, design=Design(practice=4), opened=False)
    pictures = study.pictures(session, studies.draw)
    record = Audited.of(pictures).record
    assert record.n.practice == 4
    assert set(record.pictures) == {Blob.digest_of(one.png) for one in pictures}


def test_an_audit_of_an_earlier_version_is_made_again(session, researcher):
    study = studies.make_study(session, opened=False)
    pictures = study.pictures(session, studies.draw)
    audited = Audited.of(pictures)
    first = audited.record.to_json()
    del first["version"]
    session.add(
        LeakAudit(
            study_id=study.id, images_digest=audited.images_digest, verdict="green", record=first,
            by_id=researcher.id,
        )
    )  # fmt: skip
    session.flush()
    assert LeakAudit.latest(session, study.id).details.version == 1
    assert LeakAudit.of(session, study.id, pictures, researcher, audited).number == 2


def test_an_audit_of_the_same_bytes_is_kept_once_and_names_no_source(session, researcher):
    study = studies.make_study(session, opened=False)
    pictures = study.pictures(session, studies.draw)
    study.audit(session, researcher, pictures, Audited.of(pictures))
    study.open(session, researcher, pictures)
    assert count(session, LeakAudit) == 1
    told = str(LeakAudit.latest(session, study.id).record)
    assert studies.SOURCE_WORD not in told
    with pytest.raises(Conflict, match="opened before"):
        study.audit(session, researcher, pictures, Audited.of(pictures))


def test_too_few_images_are_not_audited_and_the_protocol_says_so(session):
    study = studies.make_study(session, per_class=1, real=1, synthetic=1)
    assert study.protocol.content_json["audit"]["verdict"] == "not possible"


def test_a_researcher_who_reads_the_study_sees_neither_audit_nor_mix(app, session, signed_in_as):
    boss = studies.make_user(session, "boss", "researcher")
    study = studies.make_study(session, boss)
    session.commit()
    browser = signed_in_as("researcher", name="boss")
    assert browser.get(f"/reader-studies/{study.id}/audit").status_code == 403
    page = browser.get(f"/reader-studies/{study.id}").text
    assert studies.SOURCE_WORD not in page
    assert "not shown to you" in page
    kinds = session.scalars(sa.select(Event.kind).where(Event.actor == "boss")).all()
    assert "leak audit refused to a blinded reader" in kinds
    other = signed_in_as("researcher", name="somebody")
    assert other.get(f"/reader-studies/{study.id}/audit").status_code == 200


# -- conduct --------------------------------------------------------------------------------------

GOOD = {
    "consent": "yes", "consent_version": "1", "years": "12", "subspecialty": "abdominal",
    "room": "dimmed", "ramp_dark": "yes", "ramp_bright": "no", "card_px": "321",
    "screen": '{"dpr": 2, "screen_width": 1512, "screen_height": 982, "browser": "Chromium"}',
}  # fmt: skip


@pytest.fixture
def invited(app, session, signed_in_as, ada):
    study = studies.make_study(session, ada, checked_in=False, design=Design(size_mm=100.0))
    enrolment = enrolment_of(session, study)
    session.commit()
    return signed_in_as("reader", name="ada"), enrolment, f"/readings/{enrolment.token}"


def test_nothing_is_seen_or_answered_before_the_check_in(invited, session):
    browser, enrolment, url = invited
    first = trials(session, enrolment)[0]
    assert browser.get(url).headers["location"] == f"{url}/conduct"
    assert browser.get(f"/pixels/{first.token}").status_code == 404
    body = {"trial": first.token, "key": "k", "lesion_class": "cyst", "rating": "2"}
    refused = browser.post(url, data=body, headers=JSON)
    assert refused.status_code == 409
    assert "Check in first" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"consent": ""}, "Agree to take part"),
        ({"card_px": "1200"}, "100 mm wide, and on this screen there is room for 55 mm"),
        ({"years": "many"}, "years of experience"),
        ({"subspecialty": " "}, "subspecialty"),
        ({"room": "cave"}, "how light"),
        ({"ramp_dark": ""}, "grey ramp"),
        ({"card_px": ""}, "match the bar to a card"),
        ({"card_px": "3"}, "pixels as a number"),
    ],
)
def test_a_check_in_that_lacks_something_comes_back_with_the_reason(invited, session, wrong, said):
    browser, _, url = invited
    reply = browser.post(f"{url}/conduct", data={**GOOD, **wrong})
    assert reply.status_code == 422
    assert said in reply.text
    assert count(session, Conduct) == 0


def test_another_version_of_the_consent_text_is_refused(invited, session):
    browser, _, url = invited
    assert browser.post(f"{url}/conduct", data={**GOOD, "consent_version": "2"}).status_code == 409
    assert count(session, Conduct) == 0


def test_the_check_in_is_stored_and_sizes_the_picture(invited, session):
    browser, enrolment, url = invited
    assert "I take part as a reader" in browser.get(f"{url}/conduct").text
    assert browser.post(f"{url}/conduct", data=GOOD).headers["location"] == url
    kept = Conduct.latest(session, enrolment.id)
    assert (kept.years, kept.subspecialty, kept.room) == (12, "abdominal", "dimmed")
    assert (kept.ramp_dark, kept.ramp_bright) == (True, False)
    assert kept.mm_per_px == pytest.approx(85.6 / 321)
    assert kept.screen == {
        "dpr": 2, "screen_width": 1512, "screen_height": 982, "browser": "Chromium",
    }  # fmt: skip
    side = round(100 / (85.6 / 321))
    assert f'width="{side}" height="{side}"' in browser.get(url).text
    browser.post(f"{url}/conduct", data={**GOOD, "card_px": "400"})  # another screen
    assert count(session, Conduct) == 2
    assert Conduct.latest(session, enrolment.id).mm_per_px == pytest.approx(85.6 / 400)


def test_without_scripts_the_bar_is_measured_by_a_ruler(invited, session):
    browser, enrolment, url = invited
    browser.post(f"{url}/conduct", data={**GOOD, "card_px": "", "bar_mm": "75", "screen": ""})
    assert Conduct.latest(session, enrolment.id).mm_per_px == pytest.approx(75 / 300)


def test_another_readers_check_in_is_not_found(invited, session, signed_in_as):
    _, _, url = invited
    for role in ("reader", "researcher", "admin"):
        other = signed_in_as(role, name=f"other-{role}")
        assert other.get(f"{url}/conduct").status_code == 404
        assert other.post(f"{url}/conduct", data=GOOD).status_code == 404
        assert other.post(f"{url}/withdrawal", data={"reason": "not mine"}).status_code == 404
    assert count(session, Conduct) == 0


@pytest.mark.parametrize("told", [True, False])
def test_prevalence_is_told_only_where_the_protocol_says_so(app, session, signed_in_as, ada, told):
    design = Design(tell_prevalence=told)
    study = studies.make_study(session, ada, real=4, synthetic=5, checked_in=False, design=design)
    session.commit()
    url = f"/readings/{enrolment_of(session, study).token}/conduct"
    page = signed_in_as("reader", name="ada").get(url).text
    assert ("5 of 9" in page) is told
    assert ("is not told" in page) is not told


def test_the_number_of_hidden_repeats_is_not_told(app, session, signed_in_as, ada):
    design = Design(repeats=3, repeat_distance=2, tell_prevalence=True)
    study = studies.make_study(session, ada, checked_in=False, design=design)
    session.commit()
    url = f"/readings/{enrolment_of(session, study).token}/conduct"
    page = signed_in_as("reader", name="ada").get(url).text
    assert "<dd>15</dd>" in page  # 12 images, as many as the desk counts
    assert "about 50 %" in page
    assert "repeat" not in page


# -- answers --------------------------------------------------------------------------------------


def test_confidence_and_reasons_are_asked_as_the_protocol_says(session, ada):
    design = Design(class_confidence=True, reasons=True)
    study = studies.make_study(session, ada, design=design)
    enrolment = enrolment_of(session, study)
    first = trials(session, enrolment)[0]
    for wrong, said in (
        ({}, "how sure"),
        ({"class_confidence": 6}, "how sure"),
        ({"class_confidence": 3, "reasons": ["noise"]}, "4 to 6"),
        ({"class_confidence": 3, "rating": 5, "reasons": ["colour"]}, "Choose reasons"),
    ):
        with pytest.raises(Unreadable, match=said):
            Reading.give(session, enrolment, answer(first, **wrong))
    given = answer(first, 5, class_confidence=4, reasons=["texture", "noise"])
    kept, new = Reading.give(session, enrolment, given)
    assert new
    assert (kept.class_confidence, kept.reasons, kept.session_no) == (4, ["texture", "noise"], 1)
    assert Reading.give(session, enrolment, given) == (kept, False)
    with pytest.raises(Conflict, match="with this key"):
        Reading.give(session, enrolment, replace(given, reasons=["texture"]))


def test_questions_that_are_not_asked_are_not_answered(session, ada):
    enrolment = enrolment_of(session, studies.make_study(session, ada))
    first = trials(session, enrolment)[0]
    for more in ({"class_confidence": 3}, {"rating": 5, "reasons": ["noise"]}):
        with pytest.raises(Unreadable, match="does not ask"):
            Reading.give(session, enrolment, answer(first, **more))


def test_a_study_without_the_lesion_class_asks_and_stores_only_the_rest(
    app, session, signed_in_as, ada
):
    design = Design(lesion_class=False, reasons=True, practice=2, back=True)
    study = studies.make_study(session, ada, per_class=3, design=design)
    enrolment = enrolment_of(session, study)
    session.commit()
    content = study.protocol.content_json
    assert content["design"]["lesion_class"] is False
    assert list(content["questions"]["classes"]) == []
    assert "lesion class is not asked" in content["analysis"]
    assert "which lesion" not in content["instructions"]
    browser, url = signed_in_as("reader", name="ada"), f"/readings/{enrolment.token}"
    assert "lesion class" not in browser.get(f"{url}/conduct").text
    page = browser.get(url).text
    assert 'name="lesion_class"' not in page
    assert page.count("desk__commit") == 1
    for position, trial in enumerate(trials(session, enrolment)[:3], 1):
        body = {"trial": trial.token, "key": trial.token, "rating": "5", "reasons": "noise"}
        named = browser.post(url, data={**body, "lesion_class": "cyst"}, headers=JSON)
        assert (named.status_code, "does not ask for the lesion class" in named.text) == (422, True)
        reply = browser.post(url, data=body, headers=JSON)
        assert reply.status_code == 201
        assert browser.post(url, data=body, headers=JSON).status_code == 200
        if position <= 2:
            assert "shows" not in reply.json()["feedback"]
    kept = session.scalars(sa.select(Reading)).all()
    assert [(row.lesion_class, row.rating) for row in kept] == [(None, 5)] * 3
    assert browser.get(f"{url}?position=3", headers=JSON).json()["lesion_class"] is None
    shown = signed_in_as("researcher").get(f"/reader-studies/{study.id}").text
    assert "the lesion class is not asked for" in shown


def test_a_study_that_asks_for_the_lesion_class_takes_no_answer_without_it(session, ada):
    enrolment = enrolment_of(session, studies.make_study(session, ada))
    first = trials(session, enrolment)[0]
    with pytest.raises(Unreadable, match="Choose a class"):
        Reading.give(session, enrolment, replace(answer(first), lesion_class=None))


def test_texts_fit_the_questions_unless_they_are_the_researchers_own():
    asked = Design().checked(12)
    assert (asked.instructions, asked.analysis) == (INSTRUCTIONS, ANALYSIS)
    without = replace(asked, lesion_class=False, analysis="My own plan.").checked(12)
    assert "which lesion it shows" not in without.instructions
    assert without.analysis == "My own plan."
    assert replace(without, lesion_class=True).checked(12).instructions == INSTRUCTIONS


def test_an_answer_is_final_unless_the_protocol_lets_readers_go_back(session, ada):
    enrolment = enrolment_of(session, studies.make_study(session, ada))
    first = trials(session, enrolment)[0]
    Reading.give(session, enrolment, answer(first))
    with pytest.raises(Conflict, match="answered before"):
        Reading.give(session, enrolment, answer(first, 6, key="later", revises=True))


def test_going_back_appends_and_the_latest_counts(app, session, signed_in_as, ada):
    study = studies.make_study(session, ada, per_class=3, design=Design(back=True, practice=2))
    enrolment = enrolment_of(session, study)
    shown = trials(session, enrolment)
    for trial in shown[:4]:
        Reading.give(session, enrolment, answer(trial))
    with pytest.raises(Conflict, match="answered before"):  # its answer was told
        Reading.give(session, enrolment, answer(shown[0], 6, key="p", revises=True))
    with pytest.raises(Conflict, match="answered before"):  # another tab, not a change
        Reading.give(session, enrolment, answer(shown[2], 6, key="tab"))
    session.commit()
    browser, url = signed_in_as("reader", name="ada"), f"/readings/{enrolment.token}"
    earlier = browser.get(f"{url}?position=3", headers=JSON).json()
    assert (earlier["token"], earlier["rating"]) == (shown[2].token, 2)
    assert browser.get(f"/pixels/{shown[2].token}").status_code == 200
    for hidden in (1, 5, 99):
        assert browser.get(f"{url}?position={hidden}").status_code == 404
    assert browser.get(f"/pixels/{shown[0].token}").status_code == 404
    body = {"trial": shown[2].token, "key": "again", "lesion_class": "metastasis", "rating": "6",
            "revises": "true"}  # fmt: skip
    assert browser.post(url, data=body, headers=JSON).json()["answered"] == 4
    assert browser.post(url, data=body, headers=JSON).status_code == 200
    history = session.scalars(
        sa.select(Reading).where(Reading.trial_id == shown[2].id).order_by(Reading.revision)
    ).all()
    assert [(row.revision, row.rating) for row in history] == [(1, 2), (2, 6)]
    counting = session.scalars(
        sa.select(Reading.rating).where(Reading.trial_id == shown[2].id, Reading.counting())
    ).all()
    assert counting == [6]

    # the page as it is without a script: as often as the reader wants, and never in silence
    for rating in ("3", "5"):
        page = browser.get(f"{url}?position=3").text
        [key] = re.findall(r'name="key" value="([^"]+)"', page)
        again = {**body, "key": key, "rating": rating}
        assert browser.post(url, data=again).status_code == 303
        assert session.scalars(
            sa.select(Reading.rating).where(Reading.trial_id == shown[2].id, Reading.counting())
        ).all() == [int(rating)]


def test_what_was_done_to_the_picture_is_stored_as_numbers(session, ada):
    enrolment = enrolment_of(session, studies.make_study(session, ada))
    first = trials(session, enrolment)[0]
    view = {"px": 378, "zoom": 1.25, "zoom_changes": 2, "note": "x", "dpr": "2", "contrast": 1e9}
    kept, _ = Reading.give(session, enrolment, answer(first, view=view))
    assert kept.view == {"px": 378, "zoom": 1.25, "zoom_changes": 2}


def test_a_new_sitting_begins_after_half_an_hour(session, ada, monkeypatch):
    enrolment = enrolment_of(session, studies.make_study(session, ada))
    first, second, third, *_ = trials(session, enrolment)
    Reading.give(session, enrolment, answer(first))
    assert Reading.give(session, enrolment, answer(second))[0].session_no == 1
    from datetime import timedelta

    from app.models.reader_studies import reading

    later = reading.now() + timedelta(minutes=31)
    monkeypatch.setattr(reading, "now", lambda: later)
    assert Reading.give(session, enrolment, answer(third))[0].session_no == 2


def test_feedback_is_for_practice_only(app, session, signed_in_as, ada):
    study = studies.make_study(session, ada, per_class=3, design=Design(practice=2))
    enrolment = enrolment_of(session, study)
    shown = trials(session, enrolment)
    session.commit()
    browser, url = signed_in_as("reader", name="ada"), f"/readings/{enrolment.token}"
    for trial in shown:
        body = {"trial": trial.token, "key": trial.token, "lesion_class": "cyst", "rating": "2"}
        reply = browser.post(url, data=body, headers=JSON)
        if trial.kind == "practice":
            assert f"It was {trial.stimulus.truth}" in reply.json()["feedback"]
        else:
            assert "feedback" not in reply.json()
            assert "real" not in reply.text.replace('"reading"', "")
            kept = Reading.latest(session, trial.id)
            assert Feedback.of(session, kept) is None
    session.expire_all()
    assert Desk.of(session, enrolment).state == "finished"


# -- ways out -------------------------------------------------------------------------------------


def test_a_withdrawn_reader_reads_no_more_and_what_was_closed_opens(
    app, session, signed_in_as, researcher, ada
):
    app.state.inference = studies.NoNetworks()
    study = studies.make_study(session, ada)
    enrolment = enrolment_of(session, study)
    first, second, *_ = trials(session, enrolment)
    Reading.give(session, enrolment, answer(first))
    session.commit()
    browser, url = signed_in_as("reader", name="ada"), f"/readings/{enrolment.token}"
    name = session.scalars(sa.select(Checkpoint.name).where(Checkpoint.kind == "generator")).first()
    assert browser.get(f"/synthetics/{name}/1.png").status_code == 403
    maker = signed_in_as("researcher", name="maker")
    address = f"/reader-studies/{study.id}/enrolments/{enrolment.id}/withdrawal"
    assert maker.post(address, data={"reason": ""}).status_code == 422
    assert maker.post(address, data={"reason": "left the hospital"}).status_code == 303
    assert maker.post(address, data={"reason": "left the hospital"}).status_code == 409
    assert "left the hospital" in maker.get(f"/reader-studies/{study.id}").text
    assert browser.get("/synthetics").status_code == 200
    assert "You have left this study" in browser.get(url).text
    assert browser.get(f"/pixels/{second.token}").status_code == 404
    body = {"trial": second.token, "key": "k", "lesion_class": "cyst", "rating": "2"}
    assert browser.post(url, data=body, headers=JSON).status_code == 409
    assert count(session, Reading) == 1
    with pytest.raises(Conflict, match="already"):
        study.enrol(session, ada, researcher)


def test_a_reader_can_decline(invited, session):
    browser, enrolment, url = invited
    assert browser.post(f"{url}/withdrawal", data={"reason": "no time"}).status_code == 303
    session.expire_all()
    assert enrolment.withdrawal.reason == "no time"
    assert enrolment.withdrawal.by.name == "ada"


def test_a_draft_can_be_deleted_by_a_typed_word_and_an_opened_study_cannot(
    app, session, signed_in_as, ada
):
    draft = studies.make_study(session, ada, opened=False)
    maker = signed_in_as("researcher", name="maker")
    session.commit()
    url = f"/reader-studies/{draft.id}/deletion"
    assert maker.post(url, data={"typed": "delete"}).status_code == 422
    assert maker.post(url, data={"typed": "DELETE"}).status_code == 303
    assert count(session, ReaderStudy) == count(session, Enrolment) == 0
    assert signed_in_as("reader", name="ada").post(url).status_code == 403


def test_an_opened_study_is_never_deleted(session, researcher):
    study = studies.make_study(session)
    with pytest.raises(Conflict, match="its record stays"):
        study.discard(session, researcher, typed="DELETE")
    with pytest.raises(Forbidden):
        Unblinded(study)


# -- the wizard and the planner -------------------------------------------------------------------


def test_the_planner_shows_the_grid_and_refuses_what_cannot_be_planned(signed_in_as):
    browser = signed_in_as("researcher")
    page = browser.get("/reader-studies/planner?readers=5&cases=300&effect=0.1&margin=0.1").text
    assert "needs 288 images" in page
    assert "random readers and random cases" in page
    for wrong in ("effect=0.7", "cases=two", "readers=0", "cases=99999999"):
        assert browser.get(f"/reader-studies/planner?{wrong}").status_code == 422
    assert signed_in_as("reader").get("/reader-studies/planner").status_code == 403


@pytest.mark.parametrize("seed", range(6))
def test_practice_takes_the_lesions_that_the_study_leaves_over(session, ada, seed):
    """Four and four of three, three and three: no draw of the classes asks for four of one."""
    design = Design(practice=8)
    study = studies.make_study(
        session, ada, per_class=3, real=4, synthetic=4, design=design, seed=seed, opened=False
    )
    taken = [item.lesion for item in study.plan.every.real]
    assert len(set(taken)) == len(taken) == 8
    classes = [
        sorted(item.lesion_class for item in images)
        for images in (study.plan.practice.real, study.plan.practice.synthetic)
    ]
    assert classes[0] == classes[1]  # the class tells nothing of the source
