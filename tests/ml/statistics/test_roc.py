import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score, roc_curve

from ml.statistics import roc
from ml.statistics.exact import hanley_mcneil_variance
from ml.statistics.proportion import ReadersError

TRUTH = np.repeat([0, 1], 60)


def ratings(shift: float, seed: int = 0, truth: np.ndarray = TRUTH) -> np.ndarray:
    rng = np.random.default_rng(seed)
    latent = rng.normal(3.5 + shift * truth, 1.4, len(truth))
    return np.clip(np.round(latent), 1, 6)


@pytest.mark.parametrize("truth", [[0, 0], [1, 1]])
def test_one_class_of_image_has_no_roc(truth: list[int]) -> None:
    with pytest.raises(ReadersError, match="no ROC"):
        roc.auc(truth, [1, 2])


def test_a_rating_that_is_no_number_is_refused() -> None:
    with pytest.raises(ReadersError, match="finite"):
        roc.auc([0, 1], [1, float("nan")])


def test_a_reader_who_uses_one_category_gets_no_verdict_although_accuracy_would_pass() -> None:
    found = roc.verdict(TRUTH, np.full(len(TRUTH), 1.0))
    assert found.different_from_chance is None and found.equivalent_to_chance is None
    assert found.reason is not None and "one rating" in found.reason


def test_auc_and_curve_agree_with_an_independent_package() -> None:
    x = ratings(0.7)
    assert roc.auc(TRUTH, x) == pytest.approx(roc_auc_score(TRUTH, x))
    fpr, tpr, _ = roc_curve(TRUTH, x, drop_intermediate=False)
    points = roc.points(TRUTH, x)
    assert [p.false_positive for p in points] == pytest.approx(fpr.tolist())
    assert [p.true_positive for p in points] == pytest.approx(tpr.tolist())


def test_delong_covariance_equals_its_definition_written_out() -> None:
    rows = np.stack([ratings(0.7, 1), ratings(0.3, 2) + ratings(0.7, 1)])
    aucs, covariance = roc.delong(TRUTH, rows)
    v10, v01 = [], []
    for row in rows:
        positive, negative = row[TRUTH == 1], row[TRUTH == 0]
        psi = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
        v10.append(psi.mean(axis=1))
        v01.append(psi.mean(axis=0))
    expected = np.cov(v10) / 60 + np.cov(v01) / 60
    assert covariance == pytest.approx(expected)
    assert aucs == pytest.approx([np.mean(v) for v in v10])


def test_the_normal_interval_is_delong_within_the_scale_and_logit_near_its_edge() -> None:
    middle = roc.auc_interval(TRUTH, ratings(0.5))
    aucs, covariance = roc.delong(TRUTH, ratings(0.5))
    half = stats.norm.ppf(0.975) * covariance[0, 0] ** 0.5
    assert (middle.low, middle.high) == pytest.approx((aucs[0] - half, aucs[0] + half))
    assert middle.method == "DeLong, normal"
    edge = roc.auc_interval(TRUTH, ratings(5.0))
    assert edge.method == "DeLong, logit"
    assert edge.value is not None and edge.low is not None and edge.high is not None
    assert edge.low < edge.value < edge.high < 1


@pytest.mark.parametrize(
    ("truth", "rating", "why"),
    [
        ([0, 0, 0, 0, 1], [1, 2, 3, 5, 4], "one image in a class"),
        ([0, 0, 0, 1, 1, 1], [1, 2, 3, 4, 5, 6], "area of 1"),
        ([0, 0, 0, 1, 1, 1], [4, 5, 6, 1, 2, 3], "area of 0"),
    ],
)
def test_where_delong_fails_the_bootstrap_is_used_and_says_so(
    truth: list[int], rating: list[int], why: str
) -> None:
    found = roc.auc_interval(truth, rating)
    assert "bootstrap by case" in found.method and why in found.method
    assert found.low is not None and found.high is not None and found.value is not None
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.high - found.low > 0.2  # so few images never give certainty


def test_hanley_mcneil_under_guessing_is_the_exact_variance_of_mann_whitney() -> None:
    assert hanley_mcneil_variance(0.5, 7, 11) == pytest.approx((7 + 11 + 1) / (12 * 7 * 11))


def test_equivalence_needs_the_whole_90_percent_interval_within_the_margin() -> None:
    many = np.repeat([0, 1], 400)
    guessed = np.random.default_rng(3).integers(1, 7, 800).astype(float)
    large = roc.verdict(many, guessed)
    assert large.equivalent_to_chance is True and large.different_from_chance is False
    few, evenly = np.repeat([0, 1], 30), np.tile([1.0, 2, 3, 4, 5, 6], 10)
    assert roc.auc(few, evenly) == pytest.approx(0.5)
    assert (
        roc.verdict(few, evenly).equivalent_to_chance is False
    )  # 60 images are too few even for 0.5
    assert roc.verdict(few, evenly, margin=0.2).equivalent_to_chance is True


def test_readings_of_one_patient_widen_the_interval() -> None:
    patients = [f"p{k // 10}" for k in range(60)] + [f"s{k}" for k in range(60)]
    rng = np.random.default_rng(5)
    per_patient = np.repeat(rng.integers(1, 7, 6), 10)
    x = np.concatenate([per_patient, rng.integers(1, 7, 60)]).astype(float)
    apart, together = roc.auc_interval(TRUTH, x), roc.auc_interval(TRUTH, x, clusters=patients)
    assert "patient-clustered bootstrap" in together.method
    assert together.low is not None and together.high is not None
    assert apart.low is not None and apart.high is not None
    assert together.high - together.low > 1.5 * (apart.high - apart.low)


def test_one_image_per_patient_needs_no_cluster_bootstrap() -> None:
    names = [f"p{k}" for k in range(120)]
    assert roc.auc_interval(TRUTH, ratings(0.5), clusters=names).method == "DeLong, normal"
