"""What is told of a study: who read what, what was amended when, and what decides."""

from __future__ import annotations

import csv
import io
import json

import pytest

import answered
import studies
from app.models import Analysis, ReaderStudy, Stimulus
from app.models.reader_studies.audit import details_of
from app.models.reader_studies.design import Design
from app.models.reader_studies.intent import Intent, Primary
from app.models.reader_studies.unblinded import Unblinded
from app.models.study_results.analysis import Computed, Content, compute, marked_in
from app.models.study_results.answers import Answers
from ml.lesion import LIVER
from ml.readers.hypothesis import Claim, Missing, Whose


def no_network(*_arguments):
    raise AssertionError("the network must not be asked")


def first(count: int, answering: answered.Answering) -> answered.Answering:
    """A reader who answers so many trials and stops."""
    return lambda stimulus, place: answering(stimulus, place) if place <= count else None


@pytest.fixture
def maker(session):
    return studies.make_user(session, "maker", "researcher")


@pytest.fixture
def study(session, maker) -> ReaderStudy:
    """24 images and two for practice; R1 and R2 read all, R3 stops; amended before and after."""
    people = [studies.make_user(session, f"reader{n}") for n in (1, 2, 3)]
    design = Design(
        practice=2,
        exclude_own=False,
        intent=Intent(Primary(Claim.EQUIVALENT, Whose.THESE), "A pilot study varied by as much."),
    )
    study = studies.make_study(session, *people, per_class=6, real=12, synthetic=12, design=design)
    study.amend(session, maker, what="margin", text="0.12", reason="a second look at the pilot")
    for number, count in ((1, 26), (2, 26), (3, 9)):
        answered.answer(session, study, number, first(count, answered.guessing(number)))
    study.take_out(session, answered.enrolment_of(session, study, 3).id, maker, "moved away")
    late = "because I like the other one better"
    study.amend(session, maker, what="margin", text="0.29", reason=late)
    study.amend(session, maker, what="missing", text="worst case", reason=late)
    answered.unblind(session, study, maker)
    return study


def content_of(session, study) -> Content:
    answers = Answers.of(session, Unblinded(study))
    return Content.read(compute(session, answers, no_network).data)


def test_what_is_amended_after_the_first_answer_stands_beside_the_plan(session, study):
    content = content_of(session, study)
    result, primary = content.result, content.result.primary
    assert (content.protocol_version, result.margin) == (2, 0.12)
    assert content.protocol_hash == study.protocols[1].digest
    assert {one.verdict.margin for one in result.readers} == {0.12}
    assert "within 0.5 ± 0.12" in primary.hypothesis and primary.missing is Missing.ALL
    early, margin, plan = content.amendments
    assert (early.answers, early.trials, early.primary) == (0, 78, True)
    assert (margin.answers, margin.trials, margin.primary) == (61, 78, False)
    assert (margin.by, margin.reason) == ("maker", "because I like the other one better")
    [change] = margin.changes
    assert (change.what, change.before, change.after) == ("margin", "0.12", "0.29")
    assert plan.changes[0].after == "worst case"
    assert [(one.version, one.margin) for one in result.amended] == [(3, 0.29), (4, 0.29)]
    assert "within 0.5 ± 0.29" in result.amended[0].hypothesis
    assert result.amended[1].planned.analysis == "as planned: worst case"


def test_the_methods_paragraph_says_who_read_what_and_what_changed(session, study):
    told = content_of(session, study).result.methods
    for words in (
        "12 real ones of 12 patients, cut from simulated CT (phantoms, no patient)",
        "3 readers were to read 24 images each, and read: R1 24 (12 real, 12 synthetic); "
        "R2 24 (12 real, 12 synthetic); R3 7 (",
        "then was withdrawn: “moved away”",
        "practice images, other ones, and were told the truth of each after the answer",
        "R1 2, R2 2, R3 2",
        "Nobody read an image that they had read in another study, practice included, or been "
        "shown elsewhere in the software.",
        "were marked as implausible, a rule set beforehand: ",
        "512 CSS pixels wide",
        "R1 12 years in abdominal, dimmed room, screen of 1280 × 800 CSS pixels",
        "A leak audit of the images before the opening was",
        "Reason for the margin: A pilot study varied by as much.",
        "before the first answer, by maker, because “a second look at the pilot”): margin from "
        "“0.10” to “0.12”. The study is judged by this version.",
        "after 61 answers of 78, by maker, because “because I like the other one better”): margin "
        "from “0.12” to “0.29”. The primary analysis is by the version before the first answer.",
        "There are 8 secondary hypotheses; their p values are taken from the intervals and "
        "adjusted together after Holm,",
        "Missing answers: every reader counts with the images that they answered.",
        "All else is secondary",
        f"protocol version 2, SHA-256 {study.protocols[1].digest}",
    ):
        flat = words[0].upper() + words[1:]
        assert words in told or flat in told, (words, told)
    for untrue in ("hidden repeat", "go back", "marked or reviewed,", "(none)", "drawn anew"):
        assert untrue not in told


def test_sensitivity_analyses_stand_beside_the_primary_one(session, study):
    marked = marked_in(Answers.of(session, Unblinded(study)))
    told = details_of(study.protocols[0].content.audit).coloured()
    assert len(marked) == sum(one.pixels_digest in told for one in Stimulus.of_study(
        session, study.id))  # fmt: skip
    primary = content_of(session, study).result.primary
    rows = {one.analysis: one for one in primary.sensitivity}
    assert (primary.planned.readers, primary.planned.images) == (2, 24)
    assert "without R3, who read fewer than 5 images of a kind" in primary.planned.note
    assert rows["complete readers"].readers == 2
    [left] = [one for name, one in rows.items() if name.startswith("without the images")]
    assert f"({len(marked)})" in left.analysis and left.images == 24 - len(marked)
    right = rows["missing answers taken as certainly right"]
    wrong = rows["missing answers taken as certainly wrong"]
    assert right.value > primary.planned.value > wrong.value
    assert right.readers == wrong.readers == 3


def test_page_json_and_table_show_the_amendment_beside_the_original(
    app, signed_in_as, session, study
):
    session.commit()
    browser = signed_in_as("researcher", name="maker")
    page = browser.get(f"/reader-studies/{study.id}/results")
    assert page.status_code == 200
    for words in (
        "Primary hypothesis:", "0.5 ± 0.12", "after 61 answers of 78", "<del>0.12</del>",
        "<ins>0.29</ins>", "because I like the other one better", "would",
        "Park et al.", "A program", "designs differ",
    ):  # fmt: skip
        assert words in page.text, words
    assert "too narrow" not in page.text
    kept = browser.get(f"/reader-studies/{study.id}/exports/results.json").json()
    assert [one["answers"] for one in kept["amendments"]] == [0, 61, 61]
    sent = browser.get(f"/reader-studies/{study.id}/exports/amendments.csv").text
    rows = list(csv.DictReader(io.StringIO(sent)))
    assert [(row["what"], row["before"], row["after"], row["after_answers"], row["of_trials"],
             row["primary"]) for row in rows][:2] == [
        ("margin", "0.10", "0.12", "0", "78", "1"), ("margin", "0.12", "0.29", "61", "78", "0"),
    ]  # fmt: skip
    sent = browser.get(f"/reader-studies/{study.id}/exports/verdicts.csv").text
    rows = {row["of"]: row for row in csv.DictReader(io.StringIO(sent))}
    assert list(rows) == ["R1", "R2", "R3", "readers"] and rows["R1"]["reason"] == ""
    assert "no interval is reliable below 5" in rows["R3"]["reason"]
    assert "at least 3 are needed" in rows["readers"]["reason"] and not rows["readers"]["auc"]
    protocol = browser.get(f"/reader-studies/{study.id}").text
    assert "AUC 0.5 ± 0.12: A pilot study varied by as much." in protocol
    assert "Changed after 61 answers of 78 to: 0.29" in protocol


def test_an_analysis_of_an_earlier_version_says_which_margin_it_went_by(
    app, signed_in_as, session, study
):
    older = json.loads(content_of(session, study).written())
    for key in ("protocol_version", "amendments", "program"):
        del older[key]
    older["protocol_hash"] = study.protocols[-1].digest
    older["result"] = {k: v for k, v in older["result"].items() if k not in ("primary", "amended")}
    older["result"]["margin"] = 0.29
    Analysis.keep(session, study.unblinding.id, Computed(json.dumps(older).encode(), 1.0))
    session.commit()
    browser = signed_in_as("researcher", name="maker")
    page = browser.get(f"/reader-studies/{study.id}/results").text
    assert "went by protocol version 4, margin ±0.29" in page
    assert "is 2, margin ±0.12: report both" in page
    assert "before a program read the images too" in page


def test_the_methods_paragraph_says_how_many_synthetic_images_were_chosen(session, maker):
    reader = studies.make_user(session, "reader1")
    studies.make_generators(session)
    studies.make_known_lesions(session, 2)
    chosen = {f"{studies.SOURCE_WORD}-phantom-cyst": (3, 7)}
    study = studies.compose(
        session, maker, title="Chosen", scheme=LIVER, real=6, synthetic=6, chosen=chosen,
        design=Design(exclude_own=False),
    )  # fmt: skip
    studies.check_in(session, study.enrol(session, reader, maker), study)
    study.open(session, maker, study.pictures(session, studies.draw))
    answered.answer(session, study, 1, answered.guessing(1))
    answered.unblind(session, study, maker)
    told = content_of(session, study).result.methods
    assert (
        "Of the synthetic ones 2 of 6 were chosen by hand beforehand, so they are no random "
        "sample of what the generators draw."
    ) in told
