"""The Obuchowski–Rockette analysis against a recomputation written out with loops.

The VanDyke data are not in the repository (GPL-3): their published components stand for them.
"""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from scipy import stats

from ml.statistics import mrmc
from ml.statistics.mrmc import Components
from ml.statistics.proportion import ReadersError
from ml.statistics.ratings import Rating, Ratings


def study(
    t: int = 2, r: int = 4, m: int = 25, n: int = 30, seed: int = 0, shift: float = 1.0
) -> Ratings:
    rng = np.random.default_rng(seed)
    truth = np.array([1] * m + [0] * n)
    latent = (
        truth * shift * (1 + 0.3 * np.arange(t)[:, None, None])
        + rng.normal(0, 0.3, (t, r, 1))
        + rng.normal(0, 0.6, m + n)
        + rng.normal(0, 0.8, (t, r, m + n))
    )
    scores = np.clip(np.round(latent * 1.2 + 3), 1, 6)
    return Ratings(
        tuple(f"r{j}" for j in range(r)),
        tuple(f"t{i}" for i in range(t)),
        tuple(f"c{k}" for k in range(m + n)),
        truth,
        scores,
    )


def by_hand(ratings: Ratings, jackknife: bool = False) -> dict[str, float]:
    """Obuchowski & Rockette with Hillis' degrees, one sum after the other."""
    t, r, n = ratings.scores.shape
    truth = ratings.truth

    def area(row: np.ndarray, keep: np.ndarray) -> float:
        total, pairs = 0.0, 0
        for a in row[keep & (truth == 1)]:
            for b in row[keep & (truth == 0)]:
                total += 1.0 if a > b else 0.5 if a == b else 0.0
                pairs += 1
        return total / pairs

    everyone = np.ones(n, dtype=bool)
    A = np.array([[area(ratings.scores[i, j], everyone) for j in range(r)] for i in range(t)])
    if jackknife:
        left = []
        for k in range(n):
            keep = everyone.copy()
            keep[k] = False
            left.append([area(ratings.scores[i, j], keep) for i in range(t) for j in range(r)])
        S = (n - 1) ** 2 / n * np.cov(np.array(left).T)
    else:
        v10, v01 = [], []
        for i, j in product(range(t), range(r)):
            x, y = ratings.scores[i, j, truth == 1], ratings.scores[i, j, truth == 0]
            v10.append([np.mean((a > y) + 0.5 * (a == y)) for a in x])
            v01.append([np.mean((x > b) + 0.5 * (x == b)) for b in y])
        S = np.cov(v10) / sum(truth == 1) + np.cov(v01) / sum(truth == 0)
    groups: dict[str, list[float]] = {"var": [], "cov1": [], "cov2": [], "cov3": []}
    for a, b in product(range(t * r), range(t * r)):
        (i, j), (k, q) = divmod(a, r), divmod(b, r)
        key = {(True, True): "var", (False, True): "cov1", (True, False): "cov2"}.get(
            (i == k, j == q), "cov3"
        )
        groups[key].append(S[a, b])
    out = {key: float(np.mean(value)) for key, value in groups.items()}
    grand = A.mean()
    out["ms_t"] = r * sum((A[i].mean() - grand) ** 2 for i in range(t)) / (t - 1)
    out["ms_tr"] = sum(
        (A[i, j] - A[i].mean() - A[:, j].mean() + grand) ** 2 for i in range(t) for j in range(r)
    ) / ((t - 1) * (r - 1))
    den = out["ms_tr"] + r * max(out["cov2"] - out["cov3"], 0)
    out["f"] = out["ms_t"] / den
    out["df2"] = den**2 * (t - 1) * (r - 1) / out["ms_tr"] ** 2
    out["p"] = float(stats.f.sf(out["f"], t - 1, out["df2"]))
    half = stats.t.ppf(0.975, out["df2"]) * (2 * den / r) ** 0.5
    out["value"] = A[0].mean() - A[1].mean()
    out["low"], out["high"] = out["value"] - half, out["value"] + half
    ms_r = A[0].var(ddof=1)
    own = S[:r, :r]
    cov2 = max((own.sum() - np.trace(own)) / (r * (r - 1)), 0)
    out["auc"] = A[0].mean()
    out["df"] = (ms_r + r * cov2) ** 2 * (r - 1) / ms_r**2
    out["auc_low"] = out["auc"] - stats.t.ppf(0.975, out["df"]) * (ms_r / r + cov2) ** 0.5
    return out


def test_one_reader_is_refused_with_the_reason() -> None:
    with pytest.raises(ReadersError, match="1 reader nothing can be said about other readers"):
        mrmc.random_readers(study(r=1))


def test_one_case_of_a_class_is_refused_and_named() -> None:
    with pytest.raises(ReadersError, match="1 synthetic"):
        mrmc.random_readers(study(m=1))


def test_delong_covariance_of_incomplete_ratings_is_refused() -> None:
    ratings = study()
    ratings.scores[0, 1, 3] = np.nan
    with pytest.raises(ReadersError, match="jackknife"):
        mrmc.covariance(ratings, "auc", "delong")


def test_a_rating_given_twice_is_refused() -> None:
    row = Rating("r", "t", "c", 1, 3)
    with pytest.raises(ReadersError, match="twice"):
        Ratings.of([row, row])


@pytest.mark.parametrize("jackknife", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_analysis_equals_its_recomputation(seed: int, jackknife: bool) -> None:
    ratings = study(seed=seed)
    found = mrmc.random_readers(ratings, method="jackknife" if jackknife else None)
    expected = by_hand(ratings, jackknife)
    for key in ("f", "df2", "p"):
        assert getattr(found, key) == pytest.approx(expected[key])
    for key in ("value", "low", "high"):
        assert getattr(found.difference, key) == pytest.approx(expected[key])
    for key in ("var", "cov1", "cov2", "cov3", "ms_t", "ms_tr"):
        assert getattr(found.components, key) == pytest.approx(expected[key])
    first = found.mean
    assert (first.auc, first.df, first.low) == pytest.approx(
        (expected["auc"], expected["df"], expected["auc_low"])
    )


def test_published_vandyke_components_give_the_published_test() -> None:
    parts = Components(
        0.0007921325, 0.0003420090, 0.0003395265, 0.0002358497, 0.004796171, None, 0.0005510306,
        114, 5, 2,
    )  # fmt: skip
    denominator, df2 = mrmc.hillis(parts)
    f = 0.004796171 / denominator
    assert f == pytest.approx(4.484854, abs=5e-6)
    assert df2 == pytest.approx(15.06611, abs=5e-5)
    assert stats.f.sf(f, 1, df2) == pytest.approx(0.05123303, abs=5e-8)
    half = stats.t.ppf(0.975, df2) * (2 * denominator / 5) ** 0.5
    assert -0.04380032 - half == pytest.approx(-0.08786720, abs=5e-8)
    assert -0.04380032 + half == pytest.approx(0.00026655, abs=5e-8)


def test_with_one_treatment_there_is_no_test_but_an_interval() -> None:
    found = mrmc.random_readers(study(t=1))
    assert found.f is None and found.p is None and found.difference is None
    assert 0 <= found.mean.low < found.mean.high <= 1


def test_three_treatments_give_three_differences_on_one_denominator() -> None:
    found = mrmc.random_readers(study(t=3))
    assert [(d.first, d.second) for d in found.differences] == [
        ("t0", "t1"), ("t0", "t2"), ("t1", "t2"),
    ]  # fmt: skip
    widths = {round(d.high - d.low, 12) for d in found.differences}
    assert len(widths) == 1


def test_two_treatments_compared_with_fixed_readers_ignore_their_spread() -> None:
    ratings = study()
    found = mrmc.fixed_readers(ratings)
    values, matrix, _ = mrmc.covariance(ratings)
    contrast = np.array([0.25] * 4 + [-0.25] * 4)
    # the exact variance of the difference of the means; the averaged components give the same
    assert (found.differences[0].high - found.differences[0].low) / 2 / stats.norm.ppf(
        0.975
    ) == pytest.approx(float(contrast @ matrix @ contrast) ** 0.5)
    assert found.differences[0].value == pytest.approx(values[0].mean() - values[1].mean())
    assert mrmc.fixed_readers(study(r=1)).treatments[0].df is None


def test_percent_correct_uses_the_covariance_of_the_rows_over_n() -> None:
    right = (study(t=1).scores > 3).astype(float)
    ratings = Ratings(("a", "b", "c", "d"), ("t",), study().cases, study().truth, right)
    _, matrix, method = mrmc.covariance(ratings, "mean")
    assert method == "sample"
    assert matrix == pytest.approx(np.cov(right[0]) / right.shape[2])
    _, jackknifed, _ = mrmc.covariance(ratings, "mean", "jackknife")
    assert jackknifed == pytest.approx(matrix)  # the jackknife of a mean is its own variance


def test_generators_share_real_cases_only_and_the_covariance_knows_it() -> None:
    """Without shared synthetic cases, covariance between generators comes from real ones alone."""
    t, r, shared, own = 2, 3, 40, 30
    rng = np.random.default_rng(1)
    n = shared + t * own
    truth = np.array([0] * shared + [1] * (t * own))
    ease = rng.normal(0, 1, n)
    base = truth + ease + rng.normal(0, 1, (r, n))
    scores = np.stack([base, base])
    scores[0, :, shared + own :] = np.nan
    scores[1, :, shared : shared + own] = np.nan
    ratings = Ratings(("a", "b", "c"), ("g", "h"), tuple(map(str, range(n))), truth, scores)
    _, matrix, method = mrmc.covariance(ratings)
    assert method == "jackknife"
    v01 = []
    for i in range(t):
        for j in range(r):
            there, rated, _ = ratings.cell(i, j)
            x, y = rated[there == 1], rated[there == 0]
            v01.append([np.mean((x > b) + 0.5 * (x == b)) for b in y])
    from_real = np.cov(v01) / shared
    assert matrix[:r, r:] == pytest.approx(from_real[:r, r:], rel=0.03)
    assert np.diag(matrix).min() > np.diag(from_real).max() * 1.2


def test_cases_of_one_patient_are_left_out_together() -> None:
    ratings = study(t=1)
    clustered = Ratings(
        ratings.readers, ratings.treatments, ratings.cases, ratings.truth, ratings.scores,
        tuple(f"p{k // 5}" for k in range(len(ratings.cases))),
    )  # fmt: skip
    _, matrix, method = mrmc.covariance(clustered)
    assert method == "jackknife"
    groups = np.array([k // 5 for k in range(len(ratings.cases))])
    left = []
    for group in range(groups.max() + 1):
        keep = groups != group
        left.append(
            [
                mrmc.roc.auc(ratings.truth[keep], ratings.scores[0, j, keep])
                for j in range(len(ratings.readers))
            ]
        )
    size = len(left)
    assert matrix == pytest.approx((size - 1) ** 2 / size * np.cov(np.array(left).T))


def rated(*readers: Sequence[float], truth: Sequence[int]) -> Ratings:
    """Readers R1 … of one treatment."""
    names = tuple(f"R{j + 1}" for j in range(len(readers)))
    cases = tuple(map(str, range(len(truth))))
    return Ratings(names, ("t",), cases, np.array(truth), np.array([readers], dtype=float))


def test_a_negative_covariance_of_readers_does_not_narrow_the_interval_of_fixed_ones() -> None:
    """As MRMCaov and RJafroc: Cov2 below 0 counts as 0."""
    truth = [1] * 8 + [0] * 8
    first = [6, 5, 4, 3, 3, 2, 2, 1] * 2
    ratings = rated(first, first[:8][::-1] + first[8:][::-1], truth=truth)
    _, matrix, _ = mrmc.covariance(ratings)
    assert matrix[0, 1] < 0
    found = mrmc.fixed_readers(ratings).mean
    assert found.se == pytest.approx((np.trace(matrix) / 4) ** 0.5)
    assert found.se > matrix.mean() ** 0.5


def test_readers_without_a_spread_leave_the_width_of_their_images() -> None:
    truth = [1, 0] * 30
    for answers, low in (([1] * 60, 0.36), ([6, 1] * 30, 0.93), ([1] * 59 + [6], 0.34)):
        same = rated(*[answers] * 3, truth=truth)
        for found in (mrmc.random_readers(same), mrmc.fixed_readers(same)):
            assert found.mean.low == pytest.approx(low, abs=0.01)
            assert any("Hardly any answer of R1, R2, R3" in text for text in found.warnings)
    right = mrmc.random_readers(rated(*[[1] * 60] * 3, truth=truth), "mean").mean
    assert (right.low, right.high) == (pytest.approx(0.9404, abs=1e-4), 1)


def test_treatments_that_were_read_without_a_spread_have_a_difference_with_a_width() -> None:
    one = np.array([[6.0, 1.0] * 30] * 3)
    names, cases = ("a", "b", "c"), tuple(map(str, range(60)))
    both = Ratings(names, ("t", "u"), cases, np.array([1, 0] * 30), np.stack([one, one]))
    for found in (mrmc.random_readers(both), mrmc.fixed_readers(both)):
        assert found.difference is not None and found.f is None and found.p is None
        assert (found.difference.low, found.difference.high) == pytest.approx(
            (-0.067, 0.067), abs=1e-3
        )


def test_a_reader_who_lacks_a_treatment_is_named_and_left_out() -> None:
    ratings = study()
    ratings.scores[1, 2] = np.nan
    assert ratings.lacking(2) == (ratings.readers[2],)
    rest = ratings.without(ratings.lacking(2))
    assert ratings.readers[2] not in rest.readers and rest.complete
    assert mrmc.random_readers(rest).p is not None
    with pytest.raises(ReadersError, match="No reader is left"):
        ratings.without(ratings.readers)
