"""What is written for other programs, read by readers written from their descriptions."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.readers import exchange, files
from ml.statistics.mrmc import random_readers
from ml.statistics.ratings import Rating, Ratings


def block(*rows: tuple[str, str, str, int, float]) -> Ratings:
    return Ratings.of(Rating(*row) for row in rows)


CROSSED = block(
    ("R1", "a", "x", 0, 2), ("R1", "a", "y", 1, 5.5),
    ("R3", "a", "x", 0, 1), ("R3", "a", "y", 1, 4),
)  # fmt: skip


def rjafroc(text: str) -> dict[tuple[str, str, int], float]:
    """What ``DfReadDataFile(format = "iMRMC")`` reads, refusing what it refuses.

    Sizes are the first four lines whose part before a colon is N0, N1, NR or NM. Readers and cases
    are whole numbers; the truth of a case is a row of reader -1. Every reader must have rated every
    case under every modality.
    """
    head, body = text.split("\nBEGIN DATA:\n")
    sizes = {k: int(v) for k, _, v in (line.partition(":") for line in head.splitlines())
             if k in ("N0", "N1", "NR", "NM")}  # fmt: skip
    rows = [line.split(",") for line in body.splitlines()]
    assert all(len(row) == 4 for row in rows)
    truth = {int(row[1]): int(row[3]) for row in rows if int(row[0]) == -1}
    scores = {(row[0], row[2], int(row[1])): float(row[3]) for row in rows if int(row[0]) != -1}
    readers, modalities = ({key[i] for key in scores} for i in (0, 1))
    assert (len(readers), len(modalities)) == (sizes["NR"], sizes["NM"])
    assert sorted(truth.values()) == [0] * sizes["N0"] + [1] * sizes["N1"]
    assert set(scores) == {(r, m, c) for r in readers for m in modalities for c in truth}
    return scores


def test_rjafroc_reads_a_crossed_block() -> None:
    assert exchange.rjafroc_refuses(CROSSED) is None
    text = exchange.imrmc(CROSSED, "study")
    assert rjafroc(text) == {
        ("1", "a", 1): 2, ("1", "a", 2): 5.5, ("3", "a", 1): 1, ("3", "a", 2): 4,
    }  # fmt: skip
    assert text.splitlines()[:3] == ["study", "reader 1 is R1", "reader 3 is R3"]


@pytest.mark.parametrize(
    ("ratings", "reason"),
    [
        (block(("R1", "a", "x", 0, 2), ("R1", "a", "y", 1, 5), ("R1", "b", "x", 0, 2),
               ("R1", "b", "z", 1, 5)), "different cases"),
        (block(("R1", "a", "x", 0, 2), ("R1", "a", "y", 1, 5), ("R2", "a", "x", 0, 2)),
         "reader R2 lacks 1 of 2"),
        (block(("R1", "a", "x", 0, 2), ("R1", "a", "y", 0, 5)), "no case of one kind"),
    ],
)  # fmt: skip
def test_what_rjafroc_cannot_read_says_so_in_its_head(ratings: Ratings, reason: str) -> None:
    assert reason in (exchange.rjafroc_refuses(ratings) or "")
    text = exchange.imrmc(ratings, "study")
    assert f"RJafroc does not, because {exchange.rjafroc_refuses(ratings)}" in text
    with pytest.raises((AssertionError, IndexError)):
        rjafroc(text)
        raise IndexError  # a case of one kind only is read, and cannot be analysed
    assert files.parse(text.encode()).readers  # iMRMC's form all the same


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (("R2", "R10"), (2, 10)),
        (("7", "x3"), (7, 3)),
        (("R1", "1"), (1, 2)),  # one number twice: by order
        (("Dr A, left", "truth"), (1, 2)),
        (("R0", "-1"), (1, 2)),
    ],
)
def test_readers_are_whole_numbers(names: tuple[str, ...], numbers: tuple[int, ...]) -> None:
    found = exchange.reader_numbers(block(*((name, "a", "x", 0, 1) for name in names)))
    assert tuple(found.values()) == numbers


def test_the_free_text_holds_nothing_that_imrmc_takes_for_a_size() -> None:
    text = exchange.imrmc(CROSSED, "n0: a title\nBEGIN DATA: of two lines, NM:x")
    head, _, body = text.partition("\nBEGIN DATA:\n")
    assert "BEGIN DATA:" not in head + body
    # iMRMC looks for the word anywhere in a line, in either case, and reads on after three letters
    for line in head.upper().splitlines():
        for size in ("N0:", "N1:", "NR:", "NM:"):
            assert size not in line or re.fullmatch(rf"{size} \d+", line)


def test_which_cases_are_of_one_patient_survives_both_forms() -> None:
    rows = [
        Rating(reader, "t", f"c{case:02}", case % 2, float((case * (3 + len(reader)) + case) % 5))
        for reader in ("R1", "R22", "R333")
        for case in range(24)
    ]
    of_somebody = [case for case in range(24) if case not in (3, 8)]
    patients = {f"c{case:02}": f"someone {case // 2 % 6}" for case in of_somebody}
    ratings = Ratings.of(rows, patients)
    apart = random_readers(Ratings.of(rows)).mean
    for text in (exchange.long_csv(ratings), exchange.imrmc(ratings, "t")):
        assert "someone" not in text
        back = files.parse(text.encode())
        assert sorted(map(len, back.of_one_patient)) == [3, 3, 4, 4, 4, 4]
        found, wanted = random_readers(back).mean, random_readers(ratings).mean
        assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))
        assert found.high - found.low > 1.1 * (apart.high - apart.low)
    assert exchange.NARROW in exchange.imrmc(ratings, "t")
    for alone in (Ratings.of(rows), Ratings.of(rows, {})):
        assert exchange.long_csv(alone).startswith("reader,treatment,case,truth,rating\n")
        assert exchange.NARROW not in exchange.imrmc(alone, "t")


def test_a_case_of_two_patients_is_refused() -> None:
    text = "reader,case,truth,rating,Patient ID\nA,1,0,3,P1\nB,1,0,2,P2\n"
    with pytest.raises(files.RatingsFileError, match="line 3: case 1 is of patient 'P2', but of"):
        files.parse(text.encode())


def test_names_of_modalities_lose_what_the_format_cannot_hold_and_stay_apart() -> None:
    names = ("gen 1", "gen,1", "truth", "ä")
    found = exchange.modality_names(block(*(("R1", name, "x", 0, 1) for name in names)))
    assert tuple(found.values()) == ("gen_1", "gen_1_2", "name_truth", "ä")


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
    for text in (exchange.long_csv(ratings), exchange.imrmc(ratings, "t")):
        back = files.parse(text.encode())
        numbers = exchange.reader_numbers(ratings)
        found = {(r.reader, r.treatment, r.truth, r.score) for r in back.rows()}
        wanted = {(r.reader, r.treatment, r.truth, r.score) for r in ratings.rows()}
        if "BEGIN DATA" in text:
            wanted = {(str(numbers[name]), *rest) for name, *rest in wanted}
        assert found == wanted
        np.testing.assert_array_equal(
            np.sort(back.scores[np.isfinite(back.scores)]),
            np.sort(ratings.scores[np.isfinite(ratings.scores)]),
        )
