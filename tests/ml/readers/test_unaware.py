"""Unaware studies: two parts apart, and what is said where answers are missing."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
import scipy

from ml.readers.reading import Protocol, Reading
from ml.readers.results import Refused
from ml.readers.unaware import Noticed, analyse_unaware
from ml.readers.unaware_rehearsal import FirstPart, plan_first_part
from ml.statistics.proportion import ReadersError, wilson_limits

IMAGES = 20
READERS = ("R1", "R2", "R3")
RULES = Protocol(resamples=0)


def first_part(seed: int = 3) -> list[Reading]:
    rng = np.random.default_rng(seed)
    return [
        Reading(
            reader=reader,
            case=f"i{k:03d}",
            synthetic=k % 2 == 1,
            rating=None,
            generator="g" if k % 2 else None,
            position=k,
            lesion_class="cyst",
            answered_class="cyst" if rng.random() < (0.5 if k % 2 else 0.85) else "metastasis",
        )
        for reader in READERS
        for k in range(2 * IMAGES)
    ]


def second_part(seed: int = 5) -> list[Reading]:
    rng = np.random.default_rng(seed)
    return [
        replace(
            one, rating=int(rng.integers(1, 7)), answered_class=None, position=one.position + 40
        )
        for one in first_part()
    ]


def test_the_difference_over_readers_is_that_of_a_one_sample_analysis_by_hand():
    given = first_part()
    found = analyse_unaware(given, second_part(), Noticed(0, {}), RULES)
    right = np.array(
        [
            [
                [one.answered_class == "cyst" for one in given
                 if one.reader == reader and one.synthetic is source]
                for reader in READERS
            ]
            for source in (False, True)
        ],
        dtype=float,
    )  # fmt: skip
    shares = right.mean(axis=2)
    [gap] = found.diagnosis.across.differences
    assert (gap.first, gap.second) == ("real", "synthetic")
    assert gap.value == pytest.approx(float(shares[0].mean() - shares[1].mean()))
    # Hillis (2007) with images of their own in each treatment: covariances between readers only
    n = 2 * IMAGES
    covariance = [
        np.cov(one) / IMAGES * (IMAGES / (IMAGES - 1)) * (n - 1) / n for one in right
    ]  # as the jackknife over all images has it
    cov2 = float(np.mean([one[~np.eye(3, dtype=bool)].mean() for one in covariance]))
    rest = shares - shares.mean(axis=1, keepdims=True) - shares.mean(axis=0) + shares.mean()
    ms_tr = float((rest**2).sum() / 2)
    cov3 = found.diagnosis.across.components.cov3
    assert abs(cov3) < abs(cov2) / 10  # no image stands under both
    denominator = ms_tr + 3 * max(cov2 - cov3, 0)
    df = denominator**2 * 2 / ms_tr**2
    half = scipy.stats.t.ppf(0.975, df) * sqrt(denominator * 2 / 3)
    assert (gap.high - gap.low) / 2 == pytest.approx(half, rel=0.02)


def test_a_reader_has_newcombes_interval_of_the_difference():
    given = first_part()
    found = analyse_unaware(given, second_part(), Noticed(0, {}), RULES)
    own = found.diagnosis.readers[0].lesion_class
    p, q = own.real.value, own.synthetic.value
    (low, high), (other_low, other_high) = (
        wilson_limits(round(share * IMAGES), IMAGES) for share in (p, q)
    )
    expected = (
        p - q - sqrt((p - low) ** 2 + (other_high - q) ** 2),
        p - q + sqrt((high - p) ** 2 + (q - other_low) ** 2),
    )  # Newcombe (1998), method 10
    assert own.real_minus_synthetic.ends == pytest.approx(expected)


def test_who_stops_after_the_first_part_is_in_it_and_in_the_first_alone():
    second = [replace(one, rating=None) if one.reader == "R3" else one for one in second_part()]
    found = analyse_unaware(first_part(), second, Noticed(3, {"R3": "odd edges"}), RULES)
    assert [one.reader for one in found.diagnosis.readers] == list(READERS)
    assert [one.reader for one in found.detection.readers] == ["R1", "R2"]
    assert found.detection.counts.unanswered_left_out == 2 * IMAGES
    assert "R3 of the first part gave no rating that counts in the second" in found.summary
    assert "R3, who gave no rating that counts in it, is in none of its figures" in found.methods
    assert "1 of 3 readers said that something struck them" in found.summary


def test_missing_diagnoses_are_counted_and_are_in_no_share():
    given = [
        replace(one, answered_class=None) if one.reader == "R1" and one.position < 10 else one
        for one in first_part()
    ]
    found = analyse_unaware(given, second_part(), Noticed(0, {}), RULES)
    assert found.diagnosis.unanswered == 10
    assert found.diagnosis.readers[0].n == 2 * IMAGES - 10


def test_nothing_is_said_of_others_by_two_readers_nor_where_nobody_read():
    two = [one for one in first_part() if one.reader != "R3"]
    across = analyse_unaware(two, [], Noticed(0, {}), RULES).diagnosis.across
    assert isinstance(across, Refused)
    assert "2 readers cannot speak for other readers" in across.refused
    empty = analyse_unaware([], [], Noticed(0, {}), RULES)
    assert empty.diagnosis.readers == ()
    assert "No image has been read yet" in empty.summary


def test_nothing_is_said_of_others_by_two_readers_whom_the_third_leaves():
    left = [
        replace(one, answered_class=None) if one.reader == "R3" and one.position else one
        for one in first_part()
    ]
    across = analyse_unaware(left, [], Noticed(0, {}), RULES).diagnosis.across
    assert isinstance(across, Refused)
    assert "2 readers cannot speak for other readers" in across.refused
    assert "without R3, who named lesions of fewer than two patients of a kind" in across.refused


def test_a_second_part_without_an_answer_is_told_of_that_part():
    found = analyse_unaware(first_part(), [], Noticed(0, {}), RULES)
    assert found.warnings == ("No answer of the second part counts, so nothing can be said of it.",)
    assert analyse_unaware([], [], Noticed(0, {}), RULES).warnings == (
        "There is no answer that counts, so nothing can be said.",
    )


def test_a_first_part_that_cannot_be_planned_is_refused_and_few_readers_have_no_power():
    with pytest.raises(ReadersError, match="two real and two synthetic"):
        FirstPart(readers=3, real=1)
    with pytest.raises(ReadersError, match="between 0 and 1"):
        FirstPart(real_right=1.0)
    assert plan_first_part(FirstPart(readers=2), studies=2).power is None
    assert plan_first_part(FirstPart(5, 60, 60, 0.9, 0.4), studies=20).power > 0.9
