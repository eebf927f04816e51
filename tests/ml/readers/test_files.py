from pathlib import Path

import pytest

from ml.readers import files
from ml.readers.files import RatingsFileError

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
        ("reader,treatment,case,truth,score,rating\na,t,1,1,2,3\n", "two columns for the rating"),
        ("reader,Modality,Treatment,case,truth,rating\n", "'Modality' and 'Treatment'"),
        ("reader,case,rating\na,1,2\n", "lacks truth among its columns"),
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
