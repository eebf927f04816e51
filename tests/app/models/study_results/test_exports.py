"""Exports parsed back by readers of their own, written from the formats' descriptions."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import zipfile
from datetime import datetime

import pytest

import answered
import studies
from app.models import Blob, ReaderStudy, Stimulus
from app.models.reader_studies.unblinded import Unblinded
from app.models.study_results.answers import Answers
from ml.lesion import LIVER

OURS = f"{studies.SOURCE_WORD}-phantom"


def read_imrmc(text: str) -> tuple[dict, dict, dict]:
    """(sizes, truths, scores) of an iMRMC file, refusing what iMRMC or RJafroc refuse.

    From the description: free text, size lines NR, N0, N1, NM from column 1, a line BEGIN DATA:,
    then rows readerID,caseID,modalityID,score; truth rows have readerID and modalityID "truth".
    RJafroc wants all four sizes and whole numbers as case ids; a second rating is refused.
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
        if reader == "truth":
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
        answered.answer(session, made, number, answered.guessing(number, 0.7, LIVER.keys))
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
    assert signed_in_as("researcher").get(f"{url}/repeats.imrmc").status_code == 409


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
        modalities = {m for reader, c, m in scores if c == case and reader == "R1"}
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
    book = table(fetch("codebook.csv").text)
    assert list(rows[0]) == [row["column"] for row in book]
    assert all(row["meaning"] and row["values"] for row in book)
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
        assert abs(spent - int(row["active_ms"]) - int(row["hidden_ms"])) <= 2
        assert row["protocol_hash"] == study.protocol.digest
    revised = [row for row in firsts if row["reader_code"] == "R1" and row["position"] == "1"]
    assert [(row["rating"], row["n_changes"]) for row in revised] == [("6", "2")]
    questions = {row["question"] for row in rows}
    assert questions == {"real_or_synthetic", "lesion_class", "class_confidence", "reasons"}
    assert {row["reader_code"] for row in rows} == {"R1", "R2"}
    assert "reader1" not in fetch("answers.csv").text  # codes, no names


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
