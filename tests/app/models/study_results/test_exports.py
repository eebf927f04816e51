"""Exports parsed back by readers of their own, written from the formats' descriptions."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import zipfile
from datetime import datetime

import jsonschema
import pytest

import answered
import studies
from app.db import now
from app.models import Blob, ReaderStudy, Stimulus
from app.models.reader_studies.unblinded import Unblinded
from app.models.study_results.answers import Answers
from ml.lesion import LIVER
from ml.readers import tidy
from ml.readers.analysis import analyse
from ml.readers.hypothesis import Hypothesis, Missing, Multiplicity
from ml.readers.reading import Protocol

OURS = f"{studies.SOURCE_WORD}-phantom"


def read_imrmc(text: str) -> tuple[dict, dict, dict]:
    """(sizes, truths, scores) of an iMRMC file, refusing what iMRMC or RJafroc refuse.

    From the description: free text, size lines NR, N0, N1, NM from column 1, a line BEGIN DATA:,
    then rows readerID,caseID,modalityID,score; truth rows have readerID -1.
    RJafroc wants all four sizes and whole numbers as readers and cases; a second rating is refused.
    """
    head, mark, body = text.partition("\nBEGIN DATA:\n")
    assert mark, "no line BEGIN DATA:"
    sizes = {key: int(value) for key, value in re.findall(r"^(NR|N0|N1|NM): *(\d+)$", head, re.M)}
    assert set(sizes) == {"NR", "N0", "N1", "NM"}
    truths: dict[int, int] = {}
    scores: dict[tuple[str, int, str], float] = {}
    for row in body.splitlines():
        fields = row.split(",")
        assert len(fields) == 4, row
        assert not any(re.search(r"\s", field) for field in fields), row
        reader, case, modality, score = fields[0], int(fields[1]), fields[2], float(fields[3])
        assert re.fullmatch(r"-?\d+", reader), row
        if reader == "-1":
            assert modality == "truth"
            assert case not in truths, f"case {case} has two truths"
            assert not scores, "truth rows come first"
            truths[case] = int(score)
        else:
            assert (reader, case, modality) not in scores, f"{row}: rated twice"
            scores[reader, case, modality] = score
    assert {case for _, case, _ in scores} <= set(truths)
    assert sizes == {
        "NR": len({reader for reader, _, _ in scores}),
        "N0": sum(value == 0 for value in truths.values()),
        "N1": sum(value == 1 for value in truths.values()),
        "NM": len({modality for _, _, modality in scores}),
    }
    return sizes, truths, scores


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text), strict=True))


@pytest.fixture
def researcher(session):
    return studies.make_user(session, "maker", "researcher")


@pytest.fixture
def study(session, researcher) -> ReaderStudy:
    """Two generators, two readers, four hidden repeats of the first, one revised answer."""
    people = [studies.make_user(session, f"reader{n}") for n in (1, 2)]
    rows = studies.make_generators(session) + studies.make_generators(session, word="other")
    studies.make_known_lesions(session, 2)
    made = studies.compose(
        session, researcher, title="Two, with commas", scheme=LIVER, real=6, synthetic=12, seed=1,
        generators=[row.name for row in rows],
    )  # fmt: skip
    for person in people:
        made.enrol(session, person, researcher)
    made.open(session, researcher, made.pictures(session, studies.draw))
    for number in (1, 2):
        studies.check_in(session, answered.enrolment_of(session, made, number), made)
        guessing = answered.guessing(number, 0.7, LIVER.keys)
        answered.answer(session, made, number, guessing, begun=now())
    first = answered.trials_of(session, answered.enrolment_of(session, made, 1))[0]
    answered.add(session, first, rating=6, revision=2, changes=1)
    answered.repeat(session, made, 1, 4, rating=3)
    answered.unblind(session, made, researcher)
    session.commit()
    return made


@pytest.fixture
def fetch(app, signed_in_as, study):
    browser = signed_in_as("researcher")

    def get(name: str, status: int = 200):
        reply = browser.get(f"/reader-studies/{study.id}/exports/{name}")
        assert reply.status_code == status, reply.text[:300]
        return reply

    return get


# -- refusals -------------------------------------------------------------------------------------


def test_an_unknown_export_is_not_found_and_the_known_ones_are_named(fetch):
    assert "answers.csv" in fetch("answers.xls", 404).text


def test_a_study_without_repeats_has_no_file_of_repeats(signed_in_as, session, researcher):
    study = studies.make_study(session, studies.make_user(session, "reader1"))
    answered.answer(session, study, 1, answered.guessing(1))
    answered.unblind(session, study, researcher)
    session.commit()
    url = f"/reader-studies/{study.id}/exports"
    browser = signed_in_as("researcher")
    assert browser.get(f"{url}/repeats.imrmc").status_code == 409
    page = browser.get(f"/reader-studies/{study.id}/results").text
    assert "Not to be had: repeats.imrmc. No repeat was answered" in page
    assert "exports/repeats.imrmc" not in page and "exports/readings.imrmc" in page


# -- parsed back ----------------------------------------------------------------------------------


def expected(session, study) -> dict[tuple[str, str], tuple[int, bool, str | None]]:
    """(reader, image code) → rating, truth and generator of the first presentation."""
    answers = Answers.of(session, Unblinded(study))
    return {
        (line.reader, line.case): (
            line.reading.rating, line.stimulus.truth == "synthetic", line.generator,
        )
        for line in answers.lines
        if line.trial.kind == "first"
    }  # fmt: skip


def test_imrmc_repeats_real_rows_per_generator_and_synthetic_rows_never(fetch, session, study):
    sizes, truths, scores = read_imrmc(fetch("readings.imrmc").text)
    assert sizes == {"NR": 2, "N0": 6, "N1": 12, "NM": 2}
    for case, truth in truths.items():
        modalities = {m for reader, c, m in scores if c == case and reader == "1"}
        assert len(modalities) == (1 if truth else 2)
    assert len(scores) == 2 * (2 * 6 + 12)
    want = expected(session, study)
    assert sorted(score for (reader, case, _), score in scores.items() if truths[case]) == sorted(
        float(rating) for rating, synthetic, _ in want.values() if synthetic
    )
    first = re.match(r"[^\n]*", fetch("readings.imrmc").text)[0]
    assert study.protocol.digest in first


def test_imrmc_repeats_are_apart(fetch):
    sizes, _, scores = read_imrmc(fetch("repeats.imrmc").text)
    assert sizes["NR"] == 1
    assert {modality for _, _, modality in scores} == {"vtt_repeat"}
    assert sorted(scores.values()) == [3.0] * 4


def test_mrmcaov_csv_holds_the_same_ratings(fetch, session, study):
    rows = table(fetch("mrmcaov.csv").text)
    assert list(rows[0]) == ["reader", "treatment", "case", "truth", "rating"]
    want = expected(session, study)
    seen = set()
    for row in rows:
        rating, synthetic, generator = want[row["reader"], row["case"]]
        assert (int(row["rating"]), row["truth"] == "1") == (rating, synthetic)
        assert not synthetic or row["treatment"] == generator
        assert (row["reader"], row["treatment"], row["case"]) not in seen
        seen.add((row["reader"], row["treatment"], row["case"]))
    assert {row["treatment"] for row in rows} == {OURS, "other-phantom"}


def test_every_column_of_the_answers_is_in_the_codebook_and_every_answer_is_there(
    fetch, session, study
):
    rows = table(fetch("answers.csv").text)
    book = [row for row in table(fetch("codebook.csv").text) if row["file"] == "answers.csv"]
    assert list(rows[0]) == [row["column"] for row in book]
    values = {row["column"]: row["values"] for row in book}
    assert "6 = certainly synthetic" in values["rating"] and "cyst = " in values["lesion_class"]
    rated = [row for row in rows if row["question"] == "real_or_synthetic"]
    firsts = [row for row in rated if row["is_repeat"] == "0"]
    assert len(firsts) == 2 * 18
    assert len(rated) == 2 * 18 + 4
    want = expected(session, study)
    for row in firsts:
        rating, synthetic, generator = want[row["reader_code"], row["case_code"]]
        assert int(row["rating"]) == rating
        assert row["truth"] == str(int(synthetic))
        assert row["generator"] == (generator or "")
        assert row["answer"] == ("synthetic" if rating > 3 else "real")
        assert row["correct"] == str(int((rating > 3) == synthetic))
        shown, stored = (datetime.fromisoformat(row[f"{key}_at_utc"]) for key in
                         ("shown", "answered"))  # fmt: skip
        assert stored.utcoffset().total_seconds() == 0
        spent = 1000 * (stored - shown).total_seconds()
        said = int(row["active_ms"]) + int(row["hidden_ms"])
        if row["revision"] == "2":  # shown before the study was opened, if one believed it
            assert 0 <= spent < said
        else:
            assert abs(spent - said) <= 2
        assert row["protocol_hash"] == study.protocol.digest
    revised = [row for row in firsts if row["reader_code"] == "R1" and row["position"] == "1"]
    assert [(row["rating"], row["n_changes"]) for row in revised] == [("6", "2")]
    questions = {row["question"] for row in rows}
    assert questions == {"real_or_synthetic", "lesion_class", "class_confidence", "reasons"}
    assert {row["reader_code"] for row in rows} == {"R1", "R2"}
    assert "reader1" not in fetch("answers.csv").text  # codes, no names


def test_a_generator_of_its_own_is_read_by_rjafroc_where_not_all_together_are(fetch):
    assert "RJafroc does not, because its modalities have different" in fetch("readings.imrmc").text
    archive = zipfile.ZipFile(io.BytesIO(fetch("imrmc-by-generator.zip").content))
    assert archive.namelist() == ["other-phantom.imrmc", f"{OURS}.imrmc", "README.txt"]
    for name in archive.namelist()[:2]:
        text = archive.read(name).decode()
        assert "RJafroc does not" not in text
        _, truths, scores = read_imrmc(text)
        assert len(scores) == 2 * len(truths) == 2 * 12
    assert archive.read("README.txt").decode().splitlines()[1] == f"{OURS}: every reader."


def test_the_table_of_trials_holds_everything_and_gives_the_same_analysis(fetch, study):
    text = fetch("analysis.csv").text
    rows, stored = table(text), json.loads(fetch("results.json").text)
    assert len(rows) == 2 * 18 + 4
    assert {row["answered"] for row in rows} == {"1"}
    revised = next(row for row in rows if (row["reader_code"], row["position"]) == ("R1", "1"))
    assert (revised["rating"], revised["revision"]) == ("6", "2")
    (earlier,) = table(fetch("revisions.csv").text)
    assert earlier["trial_id"] == revised["trial_id"] and earlier["revision"] == "1"
    assert list(earlier) == list(rows[0])
    for row in rows:
        assert bool(row["patient"]) == (row["truth"] == "0") != bool(row["seed"])
        assert row["protocol_version"] == "1" and row["protocol_hash"] == study.protocol.digest
        assert row["room"] and row["years"]
    rules = Protocol(
        classes=LIVER.keys, seed=stored["seed"], resamples=stored["resamples"],
        margin=stored["result"]["margin"], network_note=stored["network"]["note"],
        hypothesis=Hypothesis(), multiplicity=Multiplicity.HOLM, missing=Missing.ALL,
    )  # fmt: skip
    # the audit's record is in no table; it marks every image of this study
    every = {row["case_code"] for row in rows}
    again = analyse(tidy.readings(text), rules, marked=every).to_json()
    told = {"methods": stored["result"]["methods"]}  # also of what is in no table
    assert {**again, **told} == stored["result"]


def test_the_form_of_the_analysis_is_published(fetch):
    schema = fetch("results.schema.json").json()
    jsonschema.Draft202012Validator.check_schema(schema)
    stored = fetch("results.json").json()
    jsonschema.validate(stored, schema)
    stored["result"]["readers"][0]["auc"]["value"] = "high"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(stored, schema)


def test_the_images_come_sorted_by_truth_and_unchanged(fetch, session, study):
    archive = zipfile.ZipFile(io.BytesIO(fetch("images.zip").content))
    assert archive.testzip() is None
    rows = table(archive.read("truth.csv").decode())
    stimuli = {one.pixels_digest: one for one in Stimulus.of_study(session, study.id)}
    assert len(rows) == len(stimuli) == 18
    for row in rows:
        data = archive.read(row["file"])
        stimulus = stimuli[row["sha256"]]
        assert hashlib.sha256(data).hexdigest() == row["sha256"]
        assert data == Blob.read(session, stimulus.pixels_digest)
        assert row["file"].split("/")[0] == stimulus.truth
        assert (row["truth"] == "1") == (stimulus.truth == "synthetic")
        assert row["lesion_class"] == stimulus.lesion_class
    assert set(archive.namelist()) == {row["file"] for row in rows} | {"truth.csv", "README.txt"}
    assert study.protocol.digest in archive.read("README.txt").decode()


def test_the_analysis_as_json_holds_every_figure_of_the_page_and_no_name(fetch, study):
    content = fetch("results.json").json()
    assert content["protocol_hash"] == study.protocol.digest
    assert {one["reader"] for one in content["result"]["readers"]} == {"R1", "R2"}
    assert content["result"]["counts"]["repeats"] == 4
    assert "reader1" not in fetch("results.json").text


def test_no_export_is_kept_by_a_cache_and_each_names_its_file(fetch):
    for name in ("answers.csv", "results.json", "images.zip", "readings.imrmc"):
        reply = fetch(name)
        assert reply.headers["cache-control"] == "no-store"
        assert name in reply.headers["content-disposition"]
