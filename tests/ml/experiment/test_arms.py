"""Arms: which trainings there are, and how a size is picked."""

from __future__ import annotations

from dataclasses import replace

from ml.config import EXPERIMENTS
from ml.experiment import arms
from ml.experiment.arms import CLASSIC, DCGAN, EQUAL, NONE, ORACLE, SYNTHETIC, ArmSize

PAPER = EXPERIMENTS["paper"]


def test_paper_preset_has_the_papers_sizes() -> None:
    points = arms.sizes(PAPER, 3, oracle=False)
    assert [0, *(p.classic for p in points if p.arm == CLASSIC)] == [
        0, 500, 1000, 2000, 3000, 5000, 7500, 10000, 15000,
    ]  # fmt: skip
    added = [(p.classic, 3 * p.synthetic) for p in points if p.arm == DCGAN]
    assert added == [(5000, m) for m in (300, 1500, 3000, 6000, 9000, 12000)]
    assert (PAPER.gan.epochs, PAPER.gan.learning_rate) == (70, 2e-4)
    assert (PAPER.acgan.epochs, PAPER.acgan.learning_rate) == (50, 1e-4)
    assert (PAPER.classifier.epochs, PAPER.classifier.width) == (150, 32)


def test_oracle_is_there_only_where_there_are_fresh_patients() -> None:
    for oracle in (True, False):
        found = {p.arm for p in arms.sizes(replace(PAPER, visual_words=(64, 256)), 3, oracle)}
        assert found == set(arms.ARMS) - set(arms.FURTHER) - (set() if oracle else {ORACLE})
    assert arms.VISUAL not in {p.arm for p in arms.sizes(PAPER, 3, oracle=True)}


def test_equal_compute_has_as_many_rois_as_the_synthetic_arm() -> None:
    points = arms.sizes(PAPER, 3, oracle=False)
    for point in points:
        if point.arm in (EQUAL, arms.MIXUP, arms.CUTMIX):
            assert point.classic == PAPER.base + 3 * point.synthetic
            assert not point.source
    alone = next(p for p in points if p.arm == SYNTHETIC)
    assert 3 * alone.synthetic >= PAPER.base + 3 * PAPER.synthetic[-1]
    assert not alone.real


def test_of_equal_scores_the_smaller_size_is_picked() -> None:
    sizes = [ArmSize(CLASSIC, n) for n in (500, 1000, 2000)]
    assert arms.pick(dict(zip(sizes, (0.7, 0.8, 0.8), strict=True)), sizes) == sizes[1]
    assert arms.pick(dict(zip(sizes, (0.9, 0.8, 0.8), strict=True)), sizes) == sizes[0]


def test_controls_take_the_size_of_the_synthetic_arm() -> None:
    points = arms.sizes(replace(PAPER, synthetic=(100, 400)), 3, oracle=True)
    scores = {p: float(p.synthetic == 400) + p.classic / 1e6 for p in points}
    chosen = arms.chosen(points, {p: s for p, s in scores.items() if p.arm in arms.SELECTED})
    assert {chosen[arm].synthetic for arm in (DCGAN, *arms.MATCHED)} == {400}
    assert chosen[CLASSIC].classic == 15000
    assert chosen[NONE].classic == 0


def test_arm_without_scores_is_left_out_and_its_controls_take_the_largest_size() -> None:
    points = arms.sizes(PAPER, 3, oracle=True)
    scores = {p: 0.5 for p in points if p.arm == CLASSIC}
    chosen = arms.chosen(points, scores)
    assert set(chosen) == {
        NONE, CLASSIC, arms.DISCRIMINATOR, SYNTHETIC, arms.EQUAL, arms.ORACLE,
        arms.DUPLICATE, arms.MIXUP, arms.CUTMIX,
    }  # fmt: skip
    assert chosen[arms.EQUAL].synthetic == chosen[arms.ORACLE].synthetic == PAPER.synthetic[-1]


def test_the_first_method_has_neither_simple_model_nor_anything_new() -> None:
    first = arms.sizes(replace(PAPER, method_version=1), 3, oracle=True)
    assert {p.arm for p in first} == {
        NONE, CLASSIC, DCGAN, arms.ACGAN, arms.DISCRIMINATOR, EQUAL, SYNTHETIC, ORACLE,
    }  # fmt: skip
    assert first == tuple(p for p in arms.sizes(PAPER, 3, True) if p.arm in {q.arm for q in first})


def test_of_models_that_are_as_good_the_simplest_is_picked() -> None:
    models = [p for p in arms.sizes(PAPER, 3, False) if p.arm == arms.FEATURES]
    assert [p.name for p in models] == [
        "features-0-0-ridged", "features-0-0-logistic", "features-0-0-trees",
    ]  # fmt: skip
    assert arms.pick(dict(zip(models, (0.8, 0.8, 0.8), strict=True)), models) == models[0]
    assert arms.pick(dict(zip(models, (0.7, 0.8, 0.9), strict=True)), models) == models[2]


def test_equal_compute_is_found_for_every_size_with_synthetic_rois() -> None:
    points = arms.sizes(PAPER, 3, oracle=False)
    for point in points:
        if point.arm in arms.PRIMARY:
            equal = arms.equal_to(points, point)
            assert equal.classic == point.classic + 3 * point.synthetic
