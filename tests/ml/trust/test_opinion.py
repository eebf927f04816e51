"""The second opinion: what it refuses, how its reasons are counted, that its figures are honest."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from ml.ground.records import from_json, to_json
from ml.images import quick
from ml.images.ends import Value
from ml.images.measurements import Measured
from ml.statistics.figure import Figure
from ml.trust import beside, themes
from ml.trust.opinion import NOTHING_ALONE, Opinion, OpinionError, OpinionRecord, SecondOpinion
from trust_lesions import CLASSES, Lesions, lesions

COUNTS = re.compile(r"^(.*): as in (\d+) of (\d+) (\S+) and (\d+) of (\d+) others it learned from$")


def _fit(of: Lesions, **more: object) -> SecondOpinion:
    classes = [*CLASSES, *(f"more_{i}" for i in range(9))][: int(of.labels.max()) + 1]
    return SecondOpinion.fit(of.measured, of.labels, of.patients, classes, 0, **more)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "_RESAMPLES", 300)


@cache
def _fitted() -> tuple[Lesions, SecondOpinion]:
    of = lesions()
    return of, _fit(of)


def test_a_class_of_too_few_patients_is_refused_by_its_name() -> None:
    of = lesions(each=4)  # two patients
    with pytest.raises(OpinionError, match=r"Class cyst has lesions of 2 patients; .* 3 or more"):
        _fit(of)
    alone = lesions(each=8)
    with pytest.raises(OpinionError, match="Class other has lesions of 0 patients"):
        SecondOpinion.fit(alone.measured, alone.labels, alone.patients, [*CLASSES, "other"], 0)


def test_a_patient_in_two_folds_is_refused() -> None:
    of = lesions(each=8)
    with pytest.raises(OpinionError, match="A patient's lesions lie in two folds"):
        _fit(of, folds=np.arange(len(of.labels)) % 3)


def test_lengths_that_differ_and_measurements_of_nothing_are_refused() -> None:
    of = lesions(each=8)
    with pytest.raises(OpinionError, match="must be of the same lesions"):
        SecondOpinion.fit(of.measured, of.labels[1:], of.patients, CLASSES, 0)
    nothing = Measured(of.measured.of, np.full_like(of.measured.values, np.nan))
    with pytest.raises(OpinionError, match="No measurement of any lesion is known"):
        SecondOpinion.fit(nothing, of.labels, of.patients, CLASSES, 0)


def test_measurements_of_another_checkpoint_are_refused() -> None:
    of, model = _fitted()
    with pytest.raises(OpinionError, match="They are of another checkpoint"):
        model.opinions(of.measured.values[:, 1:])


def test_every_count_in_a_reason_is_that_of_the_training_lesions() -> None:
    of, model = _fitted()
    place = {one.name: i for i, one in enumerate(of.measured.of)}
    checked = 0
    for opinion in model.opinions(of.measured.values):
        named = CLASSES.index(opinion.named)
        for reason in opinion.reasons:
            found = COUNTS.match(reason)
            assert found, reason
            words, own, all_own, plural, rest, all_rest = found.groups()
            assert plural == themes.plural(opinion.named)
            assert (int(all_own), int(all_rest)) == (20, 40)
            # never a range in which the others are as often
            assert int(own) / 20 > int(rest) / 40
            if "," not in words and words.startswith("mean "):
                known = model.ranges[named][-1]
                assert known is not None
                inside = known.holds(of.measured.values[:, place["lesion_mean"]])
                assert int(own) == (inside & (of.labels == named)).sum()
                assert int(rest) == (inside & (of.labels != named)).sum()
                checked += 1
    assert checked


def test_a_mean_is_one_reason_though_many_measurements_tell_it() -> None:
    of, model = _fitted()
    for opinion in model.opinions(of.measured.values):
        assert sum(reason.count("mean ") for reason in opinion.reasons) <= 1
        assert len(opinion.reasons) <= 2
    assert all(0 <= themes.theme_of(one.name) < len(themes.THEMES) for one in of.measured.of)


def test_the_words_are_those_of_the_picture() -> None:
    of, model = _fitted()
    reasons = " ".join(model.opinions(of.measured.values[:1])[0].reasons)
    mean = of.measured.values[0, 0]
    assert f"mean {mean:.0f} HU" in reasons or "HU below its surroundings" in reasons
    assert "homogeneous (sd " in " ".join(
        reason for one in model.opinions(of.measured.values[:20]) for reason in one.reasons
    )


def test_what_lies_where_no_lesion_of_its_class_does_is_no_reason() -> None:
    of, model = _fitted()
    odd = of.measured.values[:1].copy()
    odd[:, :-1] = 1e6  # far from every range with an upper end
    (opinion,) = model.opinions(odd)
    for reason in opinion.reasons:
        assert reason == NOTHING_ALONE or COUNTS.match(reason)
    assert max(opinion.probabilities.values()) < 1  # nothing counts as farther out than seen


def test_reasons_tell_the_slice_and_count_what_is_in_the_window() -> None:
    of, model = _fitted()
    inside = of.measured.values[:30]
    far = [tuple(Value(float(one), float(one) + 700) for one in row) for row in inside]
    plain, told = model.opinions(inside), model.opinions(inside, far)
    for one, other in zip(plain, told, strict=True):
        assert one.probabilities == other.probabilities
        counts = [
            [reason.partition(": as in")[2] for reason in each.reasons] for each in (one, other)
        ]
        assert counts[0] == counts[1]
        assert all(
            "(in the window " in reason for reason in other.reasons if reason != NOTHING_ALONE
        )
        assert not any("window" in reason for reason in one.reasons)


def test_greys_without_units_are_told_in_percent() -> None:
    of = lesions()
    grey = quick.measure(of.rois, None)
    opinions = _fit(replace(of, measured=grey)).opinions(grey.values)
    told = " ".join(one.reasons[0] for one in opinions)
    assert "% of grey" in told and "HU" not in told and "across" not in told


def test_its_figures_are_of_lesions_that_it_did_not_learn_from() -> None:
    of = lesions(each=24, seed=4)
    rng = np.random.default_rng(5)
    by_patient = {name: rng.integers(3) for name in dict.fromkeys(of.patients)}
    guessed = np.asarray([by_patient[name] for name in of.patients])  # labels mean nothing
    model = _fit(replace(of, labels=guessed))
    assert model.figures.balanced_accuracy.ends is not None
    low, high = model.figures.balanced_accuracy.ends
    assert low < 1 / 3 < high
    assert model.figures.n_lesions == 72 and model.figures.n_patients == 36


def test_lesions_that_differ_are_told_apart_and_its_figures_have_intervals() -> None:
    _, model = _fitted()
    figures = model.figures
    for one in (figures.balanced_accuracy, figures.auc, figures.log_loss, figures.brier):
        assert one.value is not None and one.ends is not None
    assert figures.balanced_accuracy.known > 0.8
    assert model.out_of_fold.sum(axis=1) == pytest.approx(1)


def test_an_unknown_size_changes_nothing_but_itself() -> None:
    of, model = _fitted()
    values = of.measured.values[:5].copy()
    values[:, -1] = np.nan
    assert np.isfinite(model.probabilities(values)).all()
    unknown = of.measured.values.copy()
    unknown[::2, -1] = np.nan
    assert _fit(replace(of, measured=Measured(of.measured.of, unknown))).figures.n_lesions == 60


@pytest.mark.parametrize("classes", [2, 9])
def test_two_and_nine_classes_have_opinions(classes: int) -> None:
    of = lesions(each=8, classes=classes)
    few = Measured(of.measured.of[:9], of.measured.values[:, :9])
    model = _fit(replace(of, measured=few))
    (opinion,) = model.opinions(few.values[:1])
    assert len(opinion.probabilities) == classes
    assert sum(opinion.probabilities.values()) == pytest.approx(1)
    if classes == 2:
        assert "metastases it learned from" in opinion.reasons[0]


def test_what_is_stored_says_the_same() -> None:
    of, model = _fitted()
    record = from_json(OpinionRecord, to_json(model.record()))
    again = SecondOpinion.from_tensors(record, model.tensors())
    assert again.opinions(of.measured.values) == model.opinions(of.measured.values)
    assert sum(one.nbytes for one in model.tensors().values()) < 100_000


def test_stored_tensors_that_do_not_belong_together_are_refused() -> None:
    _, model = _fitted()
    record, tensors = model.record(), model.tensors()
    for damaged in (
        {key: one for key, one in tensors.items() if key != "weights"},
        tensors | {"weights": tensors["weights"][1:]},
        tensors | {"centre": tensors["centre"] * np.nan},
        tensors | {"labels": tensors["labels"][::-1] * 0},
    ):
        with pytest.raises(OpinionError, match="damaged"):
            SecondOpinion.from_tensors(record, damaged)
    other = replace(record, measurements=("lesion_smell", *record.measurements[1:]))
    with pytest.raises(OpinionError, match="does not measure lesion_smell"):
        SecondOpinion.from_tensors(other, tensors)


def test_the_named_class_is_the_most_probable() -> None:
    assert Opinion("features", {"a": 0.2, "b": 0.5, "c": 0.3}, ()).named == "b"


# -- beside the network ----------------------------------------------------------------------------


def test_a_model_beside_itself_differs_by_nothing() -> None:
    of, model = _fitted()
    found = beside.beside(of.labels, model.out_of_fold, model.out_of_fold, of.patients, CLASSES)
    for one in (found.balanced_accuracy, found.auc, found.log_loss, found.brier):
        assert one.value == 0
    assert found.features == found.network


def test_a_worse_model_beside_a_better_one_is_called_so() -> None:
    of, model = _fitted()
    blind = np.random.default_rng(1).dirichlet((1, 1, 1), len(of.labels))
    found = beside.beside(of.labels, model.out_of_fold, blind, of.patients, CLASSES)
    assert found.balanced_accuracy.known > 0.2 and found.log_loss.known < 0
    assert found.sentence.startswith("The simple model is better than the network (+")


@pytest.mark.parametrize(
    ("low", "value", "high", "told"),
    [
        (0.01, 0.05, 0.09, "The simple model is better"),
        (-0.09, -0.05, -0.01, "The network is better"),
        (-0.04, 0.01, 0.06, "as good as the network, within 5 points"),
        (-0.2, 0.0, 0.2, "Neither was shown to be better"),
    ],
)
def test_as_good_is_said_only_where_the_interval_allows_it(
    low: float, value: float, high: float, told: str
) -> None:
    assert told in beside.said(Figure(value, low, high))
    assert "do not tell" in beside.said(Figure(value, None, None))


# -- ranges ----------------------------------------------------------------------------------------


def test_a_range_has_two_ends_only_where_one_is_not_enough() -> None:
    values = np.arange(30.0)
    lowest, middle = values < 10, (values >= 10) & (values < 20)
    low, between = themes.range_of(values, lowest), themes.range_of(values, middle)
    assert low == themes.Range(-np.inf, 9.5)
    assert between == themes.Range(9.5, 19.5)
    assert themes.range_of(values, ~lowest) == themes.Range(9.5, np.inf)
    mixed = np.arange(30) % 2 == 0
    assert themes.range_of(values, mixed) is None
    assert themes.range_of(np.full(30, np.nan), lowest) is None
    assert themes.range_of(np.zeros(30), lowest) is None


def test_classes_are_put_in_the_plural_where_that_is_safe() -> None:
    assert [themes.plural(word) for word in ("cyst", "metastasis", "hemangioma")] == [
        "cysts", "metastases", "hemangiomas",
    ]  # fmt: skip
    assert themes.plural("part-solid") == "lesions of class part-solid"
