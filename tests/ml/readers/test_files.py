from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.readers import files
from ml.readers.files import RatingsFileError
from ml.statistics.proportion import ReadersError
from ml.statistics.ratings import Rating, Ratings

HEAD = "reader,treatment,case,truth,rating\n"
IMRMC = (
    "visual Turing test\nNR: 2\nN0: 1\nN1: 1\nNM: 1\nBEGIN DATA:\ntruth,1,truth,0\n"
    "truth,2,truth,1\nr1,1,vtt,2\nr1,2,vtt,5\nr2, 1, vtt, 1\nr2,2,vtt,4\n"
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (HEAD, "no rating"),
        ("reader,case,rating\na,1,2\n", "lacks the column\\(s\\) truth"),
        (HEAD + "a,t,1,2,3\n", "line 2: truth must be 0"),
        (HEAD + "a,t,1,1,high\n", "line 2: the rating 'high'"),
        (HEAD + "a,t,1,1,inf\n", "line 2: the rating 'inf'"),
        (HEAD + "a,t,1,1\n", "line 2: 4 fields"),
        (HEAD + "a,t,,1,3\n", "line 2: reader, treatment or case is empty"),
        (HEAD + "a,t,1,1,3\na,t,1,1,4\n", "line 3: .* in line 2"),
        (HEAD + "a,t,1,1,3\nb,t,1,0,4\n", "line 3: case 1 has truth 0, but 1 in line 2"),
        (IMRMC.replace("NR: 2", "NR: 3"), "NR: 3, but its data hold 2"),
        (IMRMC.replace("N0: 1", "N0: one"), "line 3: N0 must be a whole number"),
        (IMRMC + "r1,1,vtt,3\n", "line 13: .* already rated"),
        (IMRMC + "r1,9,vtt,3\n", "line 13: case 9 has no truth row"),
        (IMRMC + "truth,1,truth,1\n", "case 1 has two truth rows"),
        (IMRMC + "r1,1\n", "line 13: a row has"),
    ],
)
def test_a_file_with_a_fault_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(RatingsFileError, match=message):
        files.parse(text.encode(), "study.csv")


def test_bytes_that_are_no_text_and_absent_files_are_refused(tmp_path: Path) -> None:
    for data in (b"\xff\xfe\x00", b"a\0b"):
        with pytest.raises(RatingsFileError, match="UTF-8"):
            files.parse(data)
    with pytest.raises(RatingsFileError, match="cannot be read"):
        files.load(tmp_path / "absent.csv")


def test_the_published_imrmc_example_is_read() -> None:
    found = files.parse(IMRMC.encode(), "study.imrmc")
    assert found.readers == ("r1", "r2") and found.treatments == ("vtt",)
    assert found.truth.tolist() == [0, 1]
    assert found.scores.tolist() == [[[2, 5], [1, 4]]]


def test_spreadsheet_habits_are_understood() -> None:
    text = (
        "\ufeffReaderID;modalityID;caseID;truth;score\r\na;1;x;real;2\r\na;1;y;synthetic;NA\r\n\r\n"
    )
    found = files.parse(text.encode())
    assert found.cases == ("x",) and found.scores.tolist() == [[[2.0]]]


def test_an_independent_reader_of_imrmc_finds_sizes_truth_and_integer_cases() -> None:
    ratings = Ratings.of(
        [
            Rating("Dr A, left", "gen 1", "case-x", 0, 2),
            Rating("Dr A, left", "gen 1", "case-y", 1, 5.5),
            Rating("truth", "gen 2", "case-x", 0, 1),
            Rating("truth", "gen 2", "case-z", 1, 6),
        ]
    )
    text = files.imrmc(ratings, "NR: a title\nBEGIN DATA: of two lines")
    head, body = text.split("\nBEGIN DATA:\n")
    sizes = dict(
        line.split(": ") for line in head.splitlines() if line[:2] in ("NR", "N0", "N1", "NM")
    )
    assert sizes == {"NR": "2", "N0": "1", "N1": "2", "NM": "2"}
    rows = [line.split(",") for line in body.splitlines()]
    assert all(len(row) == 4 for row in rows)
    truth = {int(r[1]): int(r[3]) for r in rows if r[0] == "truth"}
    assert truth == {1: 0, 2: 1, 3: 1}
    rest = [r for r in rows if r[0] != "truth"]
    assert [(int(r[1]), r[2], float(r[3])) for r in rest] == [
        (1, "gen_1", 2.0), (2, "gen_1", 5.5), (1, "gen_2", 1.0), (3, "gen_2", 6.0),
    ]  # fmt: skip


@given(
    st.dictionaries(
        st.tuples(st.sampled_from("AB"), st.sampled_from("tu"), st.integers(1, 9)),
        st.one_of(st.integers(1, 6), st.floats(-5, 5).filter(lambda x: abs(x) > 1e-9)),
        min_size=1,
    )
)
def test_every_block_of_ratings_survives_both_forms(cells: dict) -> None:  # type: ignore[type-arg]
    ratings = Ratings.of(
        Rating(reader, treatment, str(case), case % 2, float(score))
        for (reader, treatment, case), score in cells.items()
    )
    for text in (files.long_csv(ratings), files.imrmc(ratings, "t")):
        back = files.parse(text.encode())
        found = {(r.reader, r.treatment, r.truth, r.score) for r in back.rows()}
        assert found == {(r.reader, r.treatment, r.truth, r.score) for r in ratings.rows()}
        np.testing.assert_array_equal(
            np.sort(back.scores[np.isfinite(back.scores)]),
            np.sort(ratings.scores[np.isfinite(ratings.scores)]),
        )


def test_the_tidy_file_has_no_column_of_truth_before_unblinding() -> None:
    row = {"reader_code": "a", "truth": 1, "generator": "dcgan", "correct": True, "rating": 5}
    blind = files.tidy_csv([row], unblinded=False)
    assert not any(c in blind for c in ("truth", "generator", "dcgan", "correct"))
    described = [line.split(",")[0] for line in files.codebook_csv(False).splitlines()[1:]]
    assert described == blind.splitlines()[0].split(",")
    opened = files.tidy_csv([row], unblinded=True)
    header, line = opened.splitlines()
    assert header.split(",") == list(files.CODEBOOK)
    assert dict(zip(header.split(","), line.split(","), strict=True))["correct"] == "1"


def test_a_column_that_the_codebook_lacks_is_refused() -> None:
    with pytest.raises(ReadersError, match="no column secret"):
        files.tidy_csv([{"secret": 1}], unblinded=True)


def test_text_that_a_spreadsheet_would_run_is_disarmed() -> None:
    text = files.tidy_csv([{"answer": "=HYPERLINK(1)", "rating": -1}], unblinded=True)
    assert "'=HYPERLINK" in text and ",-1," in text
