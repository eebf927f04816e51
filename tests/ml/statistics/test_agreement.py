import krippendorff
import numpy as np
import pytest
from scipy import stats
from statsmodels.stats import contingency_tables, inter_rater

from ml.statistics import agreement
from ml.statistics.proportion import ReadersError

RNG = np.random.default_rng(0)
FIRST = RNG.integers(1, 7, 80)
SECOND = np.clip(FIRST + RNG.integers(-1, 2, 80), 1, 6)
THIRD = np.clip(FIRST + RNG.integers(-2, 3, 80), 1, 6)


def test_agreement_without_a_common_case_is_refused() -> None:
    with pytest.raises(ReadersError, match="pairs"):
        agreement.cohen([], [])
    with pytest.raises(ReadersError, match="No case was rated by two"):
        agreement.fleiss(np.array([[1, 0], [0, 1]]))
    with pytest.raises(ReadersError, match="No case was rated by two"):
        agreement.krippendorff(np.array([[1.0, np.nan], [np.nan, 2.0]]))


def test_an_answer_outside_the_categories_is_refused() -> None:
    with pytest.raises(ReadersError, match="not among the categories"):
        agreement.cohen([1], [7], [1, 2, 3])


def test_kappa_is_undefined_and_says_so_when_every_answer_is_the_same() -> None:
    found = agreement.cohen(["cyst"] * 9, ["cyst"] * 9, ["cyst", "metastasis"])
    assert found.kappa.value is None and found.kappa.note == agreement.ONE_CATEGORY
    assert found.observed.value == 1.0
    assert agreement.fleiss(np.array([[3, 0]] * 5)).note == agreement.ONE_CATEGORY
    assert agreement.krippendorff(np.ones((2, 4))).note == agreement.ONE_CATEGORY


@pytest.mark.parametrize(("weights", "wt"), [("none", None), ("linear", "linear"),
                                             ("quadratic", "quadratic")])  # fmt: skip
def test_cohen_kappa_and_its_interval_agree_with_statsmodels(weights, wt) -> None:  # type: ignore[no-untyped-def]
    table = np.zeros((6, 6))
    np.add.at(table, (FIRST - 1, SECOND - 1), 1)
    expected = inter_rater.cohens_kappa(table, wt=wt)
    found = agreement.cohen(FIRST.tolist(), SECOND.tolist(), range(1, 7), weights).kappa
    assert found.value == pytest.approx(expected.kappa)
    assert (found.low, found.high) == pytest.approx(
        (expected.kappa_low, expected.kappa_upp), abs=1e-6
    )


def test_the_kappa_paradox_shows_in_prevalence_and_pabak() -> None:
    found = agreement.cohen([1] * 45 + [1, 1, 2, 2, 2], [1] * 45 + [2, 2, 1, 1, 2], [1, 2])
    assert found.kappa.value is not None and found.kappa.value < 0.35
    assert found.observed.value == 0.92 and found.pabak.value == pytest.approx(0.84)
    assert found.prevalence == pytest.approx({"1": 0.94, "2": 0.06})


def test_fleiss_kappa_agrees_with_statsmodels_and_takes_unequal_raters() -> None:
    counts = agreement.answer_counts([FIRST.tolist(), SECOND.tolist(), THIRD.tolist()])
    found = agreement.fleiss(counts, resamples=200)
    assert found.value == pytest.approx(inter_rater.fleiss_kappa(counts))
    assert found.low is not None and found.high is not None and found.value is not None
    assert found.low < found.value < found.high
    missing = [FIRST.tolist(), SECOND.tolist(), [None, *THIRD.tolist()[1:]]]
    unequal = agreement.fleiss(agreement.answer_counts(missing), resamples=0)
    assert unequal.value == pytest.approx(found.value, abs=0.05)
    assert unequal.n == 80


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_krippendorff_alpha_agrees_with_its_package_missing_values_included(level) -> None:  # type: ignore[no-untyped-def]
    values = np.stack([FIRST, SECOND, THIRD]).astype(float)
    values[2, ::5] = np.nan
    values[:2, 7] = np.nan
    expected = krippendorff.alpha(reliability_data=values, level_of_measurement=level)
    found = agreement.krippendorff(values, level, resamples=200)
    assert found.value == pytest.approx(expected)
    assert found.low is not None and found.high is not None
    assert found.low < expected < found.high


def test_the_bootstrap_over_patients_is_wider_when_their_images_agree_alike() -> None:
    first = np.repeat(RNG.integers(0, 2, 12), 10)
    second = np.where(np.repeat(RNG.random(12) < 0.6, 10), first, 1 - first)
    counts = agreement.answer_counts([first.tolist(), second.tolist()])
    alone = agreement.fleiss(counts)
    together = agreement.fleiss(counts, clusters=[f"p{k // 10}" for k in range(120)])
    assert together.method.startswith("Fleiss κ, bootstrap over patients")
    assert together.low is not None and together.high is not None
    assert alone.low is not None and alone.high is not None
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_mcnemar_and_cochran_agree_with_statsmodels() -> None:
    right = np.stack([FIRST > 2, SECOND > 3, THIRD > 2]).T
    a, b = right[:, 0], right[:, 1]
    table = [[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]]
    found = agreement.mcnemar(right[:, 0].tolist(), right[:, 1].tolist())
    assert found.p == pytest.approx(contingency_tables.mcnemar(table, exact=True).pvalue)
    expected = contingency_tables.cochrans_q(right.astype(int))
    q = agreement.cochran(right)
    assert (q.statistic, q.p) == pytest.approx((expected.statistic, expected.pvalue))
    assert q.p == pytest.approx(stats.chi2.sf(q.statistic, 2))


def test_tests_of_identical_answers_have_no_p() -> None:
    assert agreement.mcnemar([True, False], [True, False]).p is None
    assert agreement.cochran(np.ones((4, 3))).p is None
