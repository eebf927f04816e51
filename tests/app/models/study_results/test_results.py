"""Results: refused before Unblinding; afterwards what the readings say, and what they cannot."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from math import isclose
from pathlib import Path

import pytest
import sqlalchemy as sa

import answered
import studies
from app.errors import Damaged, Forbidden
from app.models import Analysis, Blob, Checkpoint, Event, ReaderStudy, Stimulus, Trial
from app.models.ground.append_only import Changed
from app.models.reader_studies.design import Design
from app.models.reader_studies.unblinded import Unblinded
from app.models.study_results.analysis import Computed, Content, compute, seed_of
from app.models.study_results.answers import Answers, generator_name
from app.models.study_results.held_out import HeldOut, refusal
from app.models.study_results.results import Results
from ml.lesion import LIVER
from ml.statistics import roc
from ml.statistics.proportion import exact, wilson


def no_network(*_arguments):
    raise AssertionError("the network must not be asked")


@pytest.fixture
def researcher(session):
    return studies.make_user(session, "maker", "researcher")


def read_study(session, researcher, *readers, per_class=2, images=6, **more) -> ReaderStudy:
    """A study read as ``readers`` say, one function each, then unblinded."""
    people = [studies.make_user(session, f"reader{n}") for n in range(1, len(readers) + 1)]
    study = studies.make_study(
        session, *people, per_class=per_class, real=images, synthetic=images, **more
    )
    for number, answering in enumerate(readers, 1):
        answered.answer(session, study, number, answering)
    answered.unblind(session, study, researcher)
    return study


def content_of(session, study) -> dict:
    return json.loads(compute(session, Answers.of(session, Unblinded(study)), no_network).data)


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["reader", "researcher", "admin"])
def test_results_are_refused_to_every_role_before_unblinding_and_the_look_is_an_event(
    app, signed_in_as, session, role
):
    study = studies.make_study(session)
    stimulus = Stimulus.of_study(session, study.id)[0]
    session.commit()
    browser = signed_in_as(role, name="curious")
    paths = ["results", "results/images", "exports/results.json", "exports/answers.csv",
             "exports/images.zip", f"stimuli/{stimulus.id}.png"]  # fmt: skip
    for path in paths:
        assert browser.get(f"/reader-studies/{study.id}/{path}").status_code == 403, path
    looks = session.scalars(
        sa.select(Event).where(
            Event.actor == "curious", Event.kind == "results refused before unblinding"
        )
    ).all()
    assert len(looks) == len(paths)
    with pytest.raises(Forbidden):
        Answers.of(session, Unblinded(study))


def test_a_reader_sees_no_results_after_unblinding_either(signed_in_as, session, researcher):
    study = read_study(session, researcher, answered.guessing(1))
    session.commit()
    browser = signed_in_as("reader", name="curious")
    assert browser.get(f"/reader-studies/{study.id}/results").status_code == 403
    assert session.scalar(sa.select(Event).where(Event.kind == "results refused to a reader"))


def test_someone_reading_another_study_blind_sees_no_results(signed_in_as, session, researcher):
    study = studies.make_study(session)
    answered.unblind(session, study, researcher)
    ada = studies.make_user(session, "ada", "researcher")
    other = studies.compose(
        session, researcher, title="Other", scheme=LIVER, real=6, synthetic=6, seed=1
    )
    other.enrol(session, ada, researcher)
    other.open(session, researcher, other.pictures(session, studies.draw))
    stimulus = Stimulus.of_study(session, study.id)[0]
    session.commit()
    browser = signed_in_as("researcher", name="ada")
    for path in ("results", "results/images", "exports/answers.csv", f"stimuli/{stimulus.id}.png"):
        assert browser.get(f"/reader-studies/{study.id}/{path}").status_code == 403


def test_a_network_that_may_have_seen_the_patients_is_refused_with_the_reason(session, researcher):
    study = read_study(session, researcher, answered.guessing(1))
    network = content_of(session, study)["result"]["lesion_class"]["network"]
    assert "a digest does not tell which patients" in network["refused"]


@pytest.mark.parametrize(
    ("trained", "shown", "allowed"),
    [
        ("phantom", "phantom", False),
        ("calibrated", "calibrated", False),
        ("uncalibrated", "calibrated", False),
        ("phantom", "calibrated", True),
        ("calibrated", "phantom", True),
    ],
)
def test_a_network_is_asked_only_where_it_cannot_have_seen_the_images(
    session, trained, shown, allowed
):
    checkpoint = Checkpoint.classifier(session)
    session.expunge(checkpoint)
    checkpoint.training_kind = trained
    study = ReaderStudy(kind=shown, scheme_json=LIVER.to_dict(), window_hu=[-150.0, 250.0])
    assert (refusal(checkpoint, study) is None) == allowed
    study.window_hu = [-100.0, 400.0]
    assert "another window" in refusal(checkpoint, study)


# -- what is kept ---------------------------------------------------------------------------------


def test_the_analysis_is_computed_once_and_kept_as_it_was(app, signed_in_as, session, researcher):
    study = read_study(session, researcher, answered.guessing(1), answered.guessing(2))
    session.commit()
    browser = signed_in_as("researcher")
    url = f"/reader-studies/{study.id}"
    assert browser.get(f"{url}/results").status_code == 200
    session.expire_all()
    kept = session.scalars(sa.select(Analysis)).one()
    app.state.inference.classes = no_network
    for _ in range(2):
        assert kept.digest in browser.get(f"{url}/results").text
    assert session.scalar(sa.select(sa.func.count()).select_from(Analysis)) == 1
    assert browser.get(f"{url}/exports/results.json").content == Blob.read(session, kept.digest)


def test_a_long_analysis_says_so_first_and_only_once(
    app, signed_in_as, session, researcher, monkeypatch
):
    monkeypatch.setattr("app.routes.results.MANY_TRIALS", 11)
    study = read_study(session, researcher, answered.guessing(1))
    session.commit()
    browser = signed_in_as("researcher")
    url = f"/reader-studies/{study.id}/results"
    waiting = browser.get(url).text
    assert "Computing: 12 trials" in waiting
    assert f"{url}?compute=1" in waiting
    assert "What was found" in browser.get(f"{url}?compute=1").text
    assert "What was found" in browser.get(url).text


def test_the_same_readings_give_the_same_bytes_and_the_seed_is_the_protocols(session, researcher):
    study = read_study(session, researcher, answered.guessing(1), answered.guessing(2))
    once, again = (
        compute(session, Answers.of(session, Unblinded(study)), no_network) for _ in range(2)
    )
    assert once.data == again.data
    content = json.loads(once.data)
    assert content["seed"] == seed_of(study.protocol) == int(study.protocol.digest[:8], 16)
    assert content["protocol_hash"] == study.protocol.digest


def test_the_first_of_two_analyses_stays_and_is_never_changed(session, researcher):
    study = read_study(session, researcher, answered.guessing(1))
    first = Analysis.keep(session, study.unblinding.id, Computed(b"{}", 0.1))
    assert Analysis.keep(session, study.unblinding.id, Computed(b"[]", 0.2)) is first
    with pytest.raises(Changed, match="never changed"), session.begin_nested():
        first.version = "another"
        session.flush()


# -- what is found --------------------------------------------------------------------------------


def test_figures_are_what_a_hand_count_gives(session, researcher):
    wrong: set = set()

    def careful(stimulus, _position):
        if stimulus.truth == "real" and len(wrong) < 2:
            wrong.add(stimulus.id)
        said = stimulus.truth == "synthetic" or stimulus.id in wrong
        return {"rating": 5 if said else 2, "lesion_class": "cyst"}

    study = read_study(session, researcher, careful, lambda *_: {"rating": 1})
    content = content_of(session, study)
    first, second = answered.by_reader(content).values()
    for key, count, n in (("accuracy", 10, 12), ("sensitivity", 6, 6), ("specificity", 4, 6)):
        bounds, sure = wilson(count, n), exact(count, n)
        assert (first[key]["value"], first[key]["low"], first[key]["high"]) == (
            bounds.value, bounds.low, bounds.high,
        )  # fmt: skip
        assert (first[key]["exact"]["low"], first[key]["exact"]["high"]) == (sure.low, sure.high)
        assert first[key]["n"] == n
    assert first["accuracy"]["majority"]["value"] == 0.5
    assert isclose(first["auc"]["value"], 1 - 2 / 6 / 2)
    assert first["lesion_class"]["real"]["count"] == 2  # "cyst" to everything
    assert first["lesion_class"]["synthetic"]["count"] == 2
    assert second["sensitivity"]["count"] == 0
    assert second["specificity"]["count"] == 6
    assert second["verdict"]["different_from_chance"] is None
    assert "12 of 12 answers are 1" in second["verdict"]["reason"]
    assert content["result"]["summary"].startswith("Two readers, 12 images (6 real, 6 synthetic).")
    assert "refused" in content["result"]["across"]["random"]


def test_the_90_percent_interval_is_the_one_that_the_verdict_uses(session, researcher):
    study = read_study(session, researcher, answered.guessing(3, 0.5))
    entry = answered.by_reader(content_of(session, study))["R1"]
    mine = list(Answers.of(session, Unblinded(study)).readings())
    area = roc.auc_interval([int(one.synthetic) for one in mine], [one.rating for one in mine], 0.9)
    narrow = entry["verdict"]["equivalence_interval"]
    assert (narrow["low"], narrow["high"]) == (area.low, area.high)


def test_the_last_revision_of_an_answer_counts_and_changes_are_counted(session, researcher):
    reader = studies.make_user(session, "reader1")
    study = studies.make_study(session, reader)
    answered.answer(session, study, 1, lambda *_: {"rating": 2, "changes": 1})
    first = answered.trials_of(session, answered.enrolment_of(session, study, 1))[0]
    answered.add(session, first, rating=6, revision=2, changes=2)
    answered.unblind(session, study, researcher)
    line = Answers.of(session, Unblinded(study)).lines[0]
    assert line.reading.rating == 6
    assert line.changes == 1 + 2 + 1  # before each of two commits, and the revision itself


def test_practice_and_repeats_are_in_no_figure_but_the_readers_agreement_with_themselves(
    session, researcher
):
    reader = studies.make_user(session, "reader1")
    study = studies.make_study(session, reader)
    answered.answer(session, study, 1, answered.guessing(5))
    enrolment = answered.enrolment_of(session, study, 1)
    before = answered.trials_of(session, enrolment)
    for trial in before[:1]:  # a practice trial of its own, after the others here
        practice = Trial(
            enrolment_id=enrolment.id, stimulus_id=trial.stimulus_id, position=90, kind="practice"
        )
        session.add(practice)
        session.flush()
        answered.add(session, practice, rating=6)
    answered.repeat(session, study, 1, 4, rating=3)
    answered.unblind(session, study, researcher)
    result = content_of(session, study)["result"]
    [entry] = result["readers"]
    assert entry["n"] == 12
    assert entry["intra_reader"]["n"] == 4
    assert result["counts"]["repeats"] == 4
    assert result["counts"]["practice_left_out"] == 1


def test_checkpoints_of_one_generator_for_several_classes_are_one_generator(session, researcher):
    names = {generator_name(row) for row in studies.make_generators(session)}
    assert names == {f"{studies.SOURCE_WORD}-phantom"}
    retired = Checkpoint(name="gan-cyst@12345678", lesion_class="cyst")
    assert generator_name(retired) == "gan@12345678"
    assert generator_name(None) is None


def test_two_generators_are_compared_on_shared_real_images(session, researcher):
    """Real images are in both treatments, synthetic ones in one; covariances by jackknife."""
    people = [studies.make_user(session, f"reader{n}") for n in (1, 2, 3)]
    rows = studies.make_generators(session) + studies.make_generators(session, word="other")
    studies.make_known_lesions(session, 2)
    study = studies.compose(
        session, researcher, title="Two", scheme=LIVER, real=6, synthetic=12, seed=1,
        generators=[row.name for row in rows],
    )  # fmt: skip
    for person in people:
        study.enrol(session, person, researcher)
    study.open(session, researcher, study.pictures(session, studies.draw))
    for number in (1, 2, 3):
        answered.answer(session, study, number, answered.guessing(number, 0.4 * number))
    answered.unblind(session, study, researcher)
    between = content_of(session, study)["result"]["between_generators"]
    assert {one["treatment"] for one in between["random"]["treatments"]} == {
        "other-phantom", f"{studies.SOURCE_WORD}-phantom",
    }  # fmt: skip
    assert between["random"]["covariance"] == "jackknife"
    assert between["random"]["components"]["cases"] == 18
    assert between["random"]["population"].startswith("readers like these")


def test_a_network_of_another_world_stands_beside_the_readers(session, researcher, monkeypatch):
    study = read_study(session, researcher, answered.guessing(1))
    monkeypatch.setattr("app.models.study_results.held_out.refusal", lambda *_: None)

    def all_cysts(_session, _checkpoint, rois):
        assert rois.shape == (12, 64, 64)
        assert rois.min() >= -1
        assert rois.max() <= 1
        return ["cyst"] * len(rois)

    computed = compute(session, Answers.of(session, Unblinded(study)), all_cysts)
    network = json.loads(computed.data)["result"]["lesion_class"]["network"]
    assert network["real"]["count"] == 2
    assert network["total"]["n"] == 12
    assert HeldOut(None, "why").classes == {}


# -- what cannot be said --------------------------------------------------------------------------


def only(truth):
    def answering(stimulus, position):
        return {"rating": 1 + position % 6} if stimulus.truth == truth else None

    return answering


CASES = {
    "nobody enrolled": [],
    "zero answers": [lambda *_: None],
    "one reader": [answered.guessing(1)],
    "all answers the same": [lambda *_: {"rating": 4, "lesion_class": "cyst"}] * 3,
    "only real images were read": [only("real")],
    "only synthetic images were read": [only("synthetic")] * 2,
    "one answer": [lambda _stimulus, position: {} if position == 1 else None],
    "unfinished readers": [
        lambda _stimulus, position: {"rating": position % 6 + 1} if position < 8 else None,
        answered.guessing(2),
        lambda *_: None,
    ],
}
SAID = {
    "nobody enrolled": ["nothing can be said", "No image was rated"],
    "zero answers": ["Reader R1 (reader1) answered nothing", "No image was rated"],
    "one reader": ["results hold for these readers", "1 reader cannot speak for other readers"],
    "all answers the same": ["answers are 4, 1 rating in use", "not defined"],
    "only real images were read": ["Every image is real", "no synthetic image was read"],
    "only synthetic images were read": ["Every image is synthetic", "no real image was read"],
    "one answer": ["no verdict"],
    "unfinished readers": ["(reader1) answered 7 of 12 trials", "(reader3) answered nothing"],
}


@pytest.mark.parametrize("case", CASES)
def test_results_say_what_cannot_be_said(app, signed_in_as, session, researcher, case):
    study = read_study(session, researcher, *CASES[case])
    session.commit()
    browser = signed_in_as("researcher")
    page = browser.get(f"/reader-studies/{study.id}/results")
    assert page.status_code == 200, page.text[:500]
    for words in SAID[case]:
        assert words in page.text, words
    assert study.protocol.digest in page.text
    for name in ("answers.csv", "codebook.csv", "results.json", "images.zip"):
        assert browser.get(f"/reader-studies/{study.id}/exports/{name}").status_code == 200
    for name in ("readings.imrmc", "mrmcaov.csv", "repeats.imrmc"):
        reply = browser.get(f"/reader-studies/{study.id}/exports/{name}")
        assert reply.status_code in (200, 409), name
    assert browser.get(f"/reader-studies/{study.id}/results/images").status_code == 200


def test_lesion_classes_that_were_not_asked_are_left_out_with_the_reason(
    app, signed_in_as, session, researcher
):
    def unnamed(seed):
        guess = answered.guessing(seed, 0.8)

        def answering(stimulus, position):
            return {**guess(stimulus, position), "lesion_class": None, "class_confidence": None}

        return answering

    study = read_study(
        session, researcher, unnamed(1), unnamed(2), unnamed(3), per_class=3, images=9,
        design=Design(lesion_class=False, reasons=True),
    )  # fmt: skip
    session.commit()
    result = content_of(session, study)["result"]
    assert result["lesion_class"] == {"refused": "lesion classes were not asked for"}
    assert [one["lesion_class"] for one in result["readers"]] == [None] * 3
    assert all(one["auc"]["value"] is not None for one in result["readers"])
    browser = signed_in_as("researcher")
    url = f"/reader-studies/{study.id}"
    page = browser.get(f"{url}/results")
    assert page.status_code == 200
    assert "The class of the lesion was not asked for." in page.text
    assert browser.get(f"{url}/results/images").status_code == 200
    rows = csv.DictReader(io.StringIO(browser.get(f"{url}/exports/answers.csv").text))
    assert {row["question"] for row in rows} <= {"real_or_synthetic", "reasons"}
    for name in ("readings.imrmc", "mrmcaov.csv", "images.zip", "codebook.csv", "results.json"):
        assert browser.get(f"{url}/exports/{name}").status_code == 200, name


def test_the_page_shows_every_part_with_n_and_interval(app, signed_in_as, session, researcher):
    study = read_study(
        session, researcher, *(answered.guessing(n, 0.3 * n, LIVER.keys) for n in (1, 2, 3)),
        per_class=4, images=12,
    )  # fmt: skip
    answered_url = f"/reader-studies/{study.id}"
    session.commit()
    browser = signed_in_as("researcher")
    text = browser.get(f"{answered_url}/results").text
    for words in ("Three readers, 24 images", "n = 24", "readers like these, cases like these",
                  "always answering", "Krippendorff", "Methods, ready to paste", "texture",
                  "Odds ratio", "What a program could have used", "90 % interval", "exact",
                  study.protocol.digest):  # fmt: skip
        assert words in text, words
    assert text.count('<svg class="plot') == 1 + 3 * 2 + 3 * 2
    audited = study.protocol.content_json["audit"]["features"]
    shown = [row["name"] for row in audited if row["group"] == "content"]
    assert shown
    assert all(f">{name}</th>" in text for name in shown)
    assert "reader1" in text
    images = browser.get(f"{answered_url}/results/images").text
    assert images.count('<img class="roi') == 24


def test_a_changed_protocol_is_said_on_the_results(app, signed_in_as, session, researcher):
    from app.models import Protocol

    study = read_study(session, researcher, answered.guessing(1))
    content = {**study.protocol.content_json, "title": "another"}
    studies.tamper(session, "protocol")
    session.execute(sa.update(Protocol).values(content_json=content))
    session.commit()
    text = signed_in_as("researcher").get(f"/reader-studies/{study.id}/results").text
    assert "no longer fits its hash" in text


# -- what is stored -------------------------------------------------------------------------------


def stored(session, study, change) -> bytes:
    """A kept analysis with one change of its JSON."""
    content = content_of(session, study)
    change(content)
    return json.dumps(content).encode()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda content: content.update(format=2), "its format is 2"),
        (lambda content: content.update(mood="good"), "mood: nothing of that name"),
        (lambda content: content["result"].pop("margin"), "result.margin is missing"),
        (lambda content: content["curves"][0]["blocks"][0].update(n="ten"), "blocks[0].n must be"),
    ],
)
def test_a_kept_analysis_that_is_none_is_refused_by_its_place(session, researcher, change, told):
    study = read_study(session, researcher, answered.guessing(1))
    with pytest.raises(Damaged, match=re.escape(told)):
        Content.read(stored(session, study, change))


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"format": 1}'])
def test_bytes_that_are_no_analysis_are_refused(data):
    with pytest.raises(Damaged, match="cannot be read"):
        Content.read(data)


def test_a_kept_analysis_comes_back_to_the_same_bytes(session, researcher):
    study = read_study(session, researcher, *(answered.guessing(n) for n in (1, 2, 3)))
    kept = compute(session, Answers.of(session, Unblinded(study)), no_network).data
    assert Content.read(kept).written() == kept


def test_an_analysis_that_was_kept_before_there_were_types_opens():
    kept = Path(__file__).with_name("kept_by_0_1_0.json").read_bytes()
    content = Content.read(kept)
    assert content.written() == kept
    assert [one.reader for one in content.result.readers] == ["R1", "R2", "R3"]
    assert content.result.readers[0].lesion_class.total.n == 24


def test_an_analysis_of_before_readers_were_asked_about_themselves_opens(session, researcher):
    study = read_study(session, researcher, answered.guessing(1))

    def older(content):
        del content["format"]
        for one in content["enrolled"]:
            del one["years"], one["subspecialty"], one["room"]

    content = Content.read(stored(session, study, older))
    assert content.enrolled[0].years is None and content.format == 1


def test_an_analysis_that_was_kept_in_other_words_keeps_them(session, researcher):
    study = read_study(session, researcher, answered.guessing(1))
    results = Results.of(session, session, Unblinded(study), no_network)
    assert len(results.sentences) == 2 and " ".join(results.sentences) == results.result.summary
    older = replace(results.content, result=replace(results.result, summary="As it was said."))
    assert replace(results, content=older).sentences == ["As it was said."]
