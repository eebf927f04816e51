import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score, roc_curve

from ml.statistics import roc
from ml.statistics.exact import hanley_mcneil_variance, newcombe
from ml.statistics.proportion import ReadersError
from ml.statistics.scale_use import ScaleRule

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
    assert found.reason is not None and "120 of 120 answers are 1" in found.reason


@pytest.mark.parametrize(
    ("rating", "told"),
    [
        ([1] * 59 + [6], "59 of 60 answers are 1, 2 ratings in use"),
        ([1] * 298 + [2, 2], "298 of 300 answers are 1, 2 ratings in use"),
        ([1, 6] * 30, "30 of 60 answers are 1, 2 ratings in use"),
        ([1] * 55 + [2, 3, 4, 5, 6], "55 of 60 answers are 1, 6 ratings in use"),
    ],
)
def test_a_reader_who_hardly_used_the_scale_gets_no_verdict(rating: list[int], told: str) -> None:
    found = roc.verdict(np.arange(len(rating)) % 2, rating)
    assert found.different_from_chance is None and found.equivalent_to_chance is None
    assert found.reason is not None and told in found.reason and "at least 10 %" in found.reason


def test_ratings_that_could_not_leave_the_margin_show_no_equivalence() -> None:
    rating = np.array([1.0] * 240 + [2, 3, 4] * 20)
    truth = np.arange(300) % 2
    assert roc.reach(truth, rating) == pytest.approx(0.2, abs=0.01)
    assert roc.verdict(truth, rating, margin=0.10).equivalent_to_chance is True
    wide = roc.verdict(truth, rating, margin=0.30)
    assert wide.equivalent_to_chance is False and wide.different_from_chance is False
    assert wide.reason is not None and "further than 0.20" in wide.reason


def test_a_rule_without_a_share_or_without_ratings_is_refused() -> None:
    for rule in ({"least_off": 0.0}, {"least_off": 1.0}, {"least_ratings": 1}):
        with pytest.raises(ReadersError):
            ScaleRule(**rule)


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
    edge = roc.auc_interval(TRUTH, ratings(3.5))
    assert edge.method == "DeLong, logit"
    assert edge.value is not None and edge.low is not None and edge.high is not None
    assert edge.low < edge.value < edge.high < 1


@pytest.mark.parametrize(
    ("synthetic", "real", "ratings", "why"),
    [
        (7, 30, [1, 2, 3, 4, 5, 6], "fewer than 40 of a kind"),
        (60, 39, [1, 2, 3, 4, 5, 6], "fewer than 40 of a kind"),
        (50, 50, [1] * 49 + [2], "hardly any spread"),
    ],
)
def test_where_delong_fails_newcombes_interval_is_used_and_says_so(
    synthetic: int, real: int, ratings: list[int], why: str
) -> None:
    truth = np.repeat([1, 0], [synthetic, real])
    found = roc.auc_interval(truth, np.resize(ratings, synthetic + real))
    assert found.method == f"Newcombe ({why})"
    assert found.value is not None and found.low is not None and found.high is not None
    bound = newcombe(found.value, synthetic, real)
    assert 0 <= found.low <= bound[0] < found.value < bound[1] <= found.high <= 1


def test_a_variance_above_newcombes_widens_the_interval_as_far_as_few_images_can_tell() -> None:
    """Half of the synthetic images obvious, the others like real ones: more spread than he has."""
    truth = np.repeat([1, 0], [12, 200])
    rating = np.concatenate([np.tile([1, 6], 6), np.resize([1, 1, 2, 3], 200)])
    found = roc.auc_interval(truth, rating)
    assert found.low is not None and found.value is not None
    variance = roc.delong(truth, rating)[1][0, 0]
    ratio = variance / hanley_mcneil_variance(found.value, 12, 200, balanced=True)
    assert ratio > 1.2
    expected = newcombe(found.value, 12, 200, inflation=(10 + 11 * ratio) / 21)
    assert found.low == pytest.approx(expected[0])


@pytest.mark.parametrize("kind", [0, 1])
def test_fewer_than_five_of_a_kind_have_no_interval_and_no_verdict(kind: int) -> None:
    truth = np.array([kind] * 4 + [1 - kind] * 20)
    found = roc.verdict(truth, np.resize([1, 2, 3, 4, 5, 6], 24))
    assert found.auc.value is not None and found.auc.ends is None
    assert found.different_from_chance is None and found.equivalent_to_chance is None
    word = "synthetic" if kind else "real"
    assert found.reason == f"4 {word} images: no interval is reliable below 5 of a kind"
    five = roc.auc_interval(np.append(truth, kind), np.resize([1, 2, 3, 4, 5, 6], 25))
    assert five.ends is not None


def test_all_right_or_all_wrong_is_no_certainty() -> None:
    for rating, value in (([4, 5, 6, 1, 2, 3], 1.0), ([1, 2, 3, 4, 5, 6], 0.0)):
        found = roc.auc_interval(np.repeat([1, 0], 30), np.repeat(rating, 10))
        assert found.value == value and found.ends is not None
        assert found.ends[1] - found.ends[0] == pytest.approx(0.067, abs=0.001)


def test_screening_takes_the_wider_limits_of_any_number_of_images() -> None:
    low, high = roc.wider_limits(TRUTH, ratings(0.5)) or (1, 0)
    found = roc.auc_interval(TRUTH, ratings(0.5))
    assert found.ends is not None and low <= found.ends[0] and high >= found.ends[1]
    assert roc.wider_limits([0, 1], [1, 2]) is not None
    assert roc.wider_limits([0, 1], [1, 1]) is None


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
