"""The novelty score: what it refuses, that either part can raise it, what its threshold keeps."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from ml.ground.records import from_json, to_json
from ml.images.ends import Value
from ml.images.measurements import Measured
from ml.trust.novelty import Novelty, NoveltyError, NoveltyRecord, Reference, share
from trust_lesions import CLASSES, Lesions, lesions

WIDTH = 100
"""More features than there are training ROIs."""


def _features(of: Lesions, seed: int) -> np.ndarray:
    """A network's: class directions and noise, a third of the units dead."""
    rng = np.random.default_rng(seed)
    way = np.random.default_rng(99).normal(0, 1, (3, WIDTH))
    found = np.maximum(3 * way[of.labels] + rng.normal(0, 1, (len(of.labels), WIDTH)), 0)
    found[:, ::3] = 0
    return found


@cache
def _trained() -> tuple[Lesions, Reference]:
    of = lesions(each=24, seed=1)
    return of, Reference.fit(_features(of, 1), of.measured, of.labels, CLASSES)


@cache
def _novelty() -> Novelty:
    _, reference = _trained()
    held_out = lesions(each=40, seed=2)
    scores = reference.scores(_features(held_out, 2), held_out.measured.values)
    return Novelty.of(reference, scores, held_out.patients)


def test_too_few_or_useless_held_out_scores_are_refused() -> None:
    _, reference = _trained()
    scores = np.ones((60, 2))
    names = [str(i) for i in range(60)]
    with pytest.raises(NoveltyError, match="39 held-out lesions are too few"):
        Novelty.of(reference, scores[:39], names[:39])
    with pytest.raises(NoveltyError, match="of one patient or fold"):
        Novelty.of(reference, scores, ["a"] * 60)
    with pytest.raises(NoveltyError, match="of one patient or fold"):
        Novelty.of(reference, scores, names, folds=[0] * 60)
    with pytest.raises(NoveltyError, match="not a finite number"):
        Novelty.of(reference, scores * np.nan, names)
    with pytest.raises(NoveltyError, match=r"must be \(n, 2\)"):
        Novelty.of(reference, scores[:, 0], names)


def test_too_few_training_rois_and_lengths_that_differ_are_refused() -> None:
    of = lesions(each=3)
    features = _features(of, 0)
    with pytest.raises(NoveltyError, match="9 training ROIs are too few"):
        Reference.fit(features, of.measured, of.labels, CLASSES)
    with pytest.raises(NoveltyError, match="must be of the same training ROIs"):
        Reference.fit(features[1:], of.measured, of.labels, CLASSES)
    more = lesions(each=8)
    with pytest.raises(NoveltyError, match="not a finite number"):
        Reference.fit(_features(more, 0) * np.nan, more.measured, more.labels, CLASSES)


def test_columns_of_another_checkpoint_are_refused() -> None:
    of, novelty = _trained()[0], _novelty()
    features, values = _features(of, 1), of.measured.values
    for other in ((features[:, 1:], values), (features, values[:, 1:]), (features[0], values[0])):
        with pytest.raises(NoveltyError, match="of another checkpoint"):
            novelty.scores(*other)
    with pytest.raises(NoveltyError, match="not a finite number"):
        novelty.scores(features + np.inf, values)


def test_about_one_of_twenty_like_lesions_is_flagged() -> None:
    novelty = _novelty()
    fresh = lesions(each=200, seed=3)
    flagged = novelty.scores(_features(fresh, 3), fresh.measured.values) > novelty.threshold
    assert 0.01 < flagged.mean() < 0.11
    assert novelty.false_alarms.ends is not None
    low, high = novelty.false_alarms.ends
    assert low <= novelty.false_alarms.known <= high and low < 0.05 < high
    assert novelty.false_alarms.n == 120


def test_either_part_raises_it_and_says_so() -> None:
    novelty = _novelty()
    of = lesions(each=2, seed=5)
    features, values = _features(of, 5), of.measured.values
    dense = novelty.judge(features, lesions(each=2, seed=5, spread=0).measured.values + 0)
    assert not any(one.flag for one in dense)
    place = {one.name: i for i, one in enumerate(of.measured.of)}
    bright = values.copy()
    for name in ("lesion_mean", "lesion_p50", "surround_mean"):
        bright[:, place[name]] += 400
    for one in novelty.judge(features, bright):
        assert one.flag and one.score > novelty.threshold
        assert any("training ROIs" in reason and "HU" in reason for reason in one.reasons)
        assert not any("network" in reason for reason in one.reasons)
    for one in novelty.judge(features[::-1] + 4, values):
        assert one.flag
        assert one.reasons == ("what the network sees in it is unlike the training ROIs",)


def test_the_nearest_class_counts_not_the_middle_of_all() -> None:
    of, reference = _trained()
    features = _features(of, 1)
    middle = features.mean(axis=0, keepdims=True)
    own = reference.scores(features, of.measured.values)
    between = reference.scores(middle, of.measured.values[:1])
    assert between[0, 0] > np.quantile(own[:, 0], 0.95)


def test_values_that_are_not_known_and_columns_that_do_not_vary_count_for_nothing() -> None:
    of = lesions(each=24, seed=1)
    values = of.measured.values.copy()
    values[:, -1] = np.nan
    values[:, 3] = 7
    values[::5, 4] = np.nan
    reference = Reference.fit(
        _features(of, 1), Measured(of.measured.of, values), of.labels, CLASSES
    )
    odd = values.copy()
    odd[:, -1], odd[:, 3] = 1e9, 1e9
    first, second = (reference.scores(_features(of, 1), one) for one in (values, odd))
    assert np.isfinite(first).all() and second == pytest.approx(first)


def test_a_class_without_training_roi_is_no_place_to_be_near() -> None:
    of = lesions(each=20)
    few = of.labels < 2
    reference = Reference.fit(
        _features(of, 0)[few], Measured(of.measured.of, of.measured.values[few]),
        of.labels[few], CLASSES,
    )  # fmt: skip
    assert len(reference.features.means) == 2


def test_a_reason_tells_the_slice_s_value_beside_the_one_that_is_compared() -> None:
    of, _ = _trained()
    novelty = _novelty()
    bright = of.measured.values[:1].copy()
    place = [one.name for one in of.measured.of].index("lesion_mean")
    bright[:, place] = 250
    row = [Value.of(float(one)) for one in bright[0]]
    row[place] = Value(250, 800)
    features = _features(of, 1)[:1]
    [plain], [told] = novelty.judge(features, bright), novelty.judge(features, bright, [tuple(row)])
    assert told.score == plain.score and told.flag
    assert any(
        reason.startswith("mean in the lesion 800 HU (in the window 250 HU); training ROIs ")
        for reason in told.reasons
    )


def test_a_fold_judges_its_false_alarms_by_the_others() -> None:
    _, reference = _trained()
    scores = np.ones((90, 2)) + np.random.default_rng(0).normal(0, 0.01, (90, 2))
    folds = np.repeat([0, 1, 2], 30)
    scores[folds == 2] *= 2  # one network of the three finds everything far
    names = [str(i) for i in range(90)]
    alone = Novelty.of(reference, scores, names)
    by_fold = Novelty.of(reference, scores, names, folds=folds)
    assert by_fold.threshold == alone.threshold
    assert by_fold.false_alarms.known > 0.3 > alone.false_alarms.known


def test_what_is_stored_says_the_same_and_is_small() -> None:
    novelty, of = _novelty(), _trained()[0]
    record = from_json(NoveltyRecord, to_json(novelty.record()))
    again = Novelty.from_tensors(record, novelty.tensors())
    features, values = _features(of, 7), of.measured.values
    assert (again.scores(features, values) == novelty.scores(features, values)).all()
    assert again.judge(features, values) == novelty.judge(features, values)
    assert sum(one.nbytes for one in novelty.tensors().values()) < 100_000


def test_stored_tensors_that_do_not_belong_together_are_refused() -> None:
    record, tensors = _novelty().record(), _novelty().tensors()
    for damaged in (
        {key: one for key, one in tensors.items() if key != "low"},
        {key: one for key, one in tensors.items() if key != "features.basis"},
        tensors | {"features.means": tensors["features.means"][:, 1:]},
        tensors | {"measured.unit": tensors["measured.unit"] * np.nan},
        tensors | {"high": tensors["high"][1:]},
    ):
        with pytest.raises(NoveltyError, match="damaged"):
            Novelty.from_tensors(record, damaged)
    other = replace(record, measurements=("lesion_smell", *record.measurements[1:]))
    with pytest.raises(NoveltyError, match="does not measure lesion_smell"):
        Novelty.from_tensors(other, tensors)


def test_a_share_of_none_or_all_has_an_interval_with_width() -> None:
    names = [str(i) for i in range(40)]
    nobody, everybody = (share(np.full(40, value), names) for value in (False, True))
    assert nobody.value == 0 and nobody.ends is not None and nobody.ends[1] > 0.05
    assert everybody.value == 1 and everybody.ends is not None and everybody.ends[0] < 0.95
    assert share(np.zeros(0, bool), []).value is None
