"""Several networks together: how far they agree, and what their mean is worth beside each."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from ml.ground.records import to_json
from ml.statistics import multinomial
from ml.trust.agreement import Agreeing, agreeing, told
from ml.trust.evidence import Missing, OutOfFold
from ml.trust.record import Trust, read_figures
from ml.trust.together import Gain, gain, on_others, together

CLASSES = ("cyst", "metastasis", "hemangioma")


def asked(
    n: int, networks: int = 3, own: float = 2.0, seed: int = 0
) -> tuple[OutOfFold, np.ndarray]:
    """Networks that see the truth and their own noise; two lesions of each patient."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) // 2 % 3
    members = 2.5 * np.eye(3)[labels][:, None] + own * rng.standard_normal((n, networks, 3))
    mean = members.mean(axis=1)
    folds = np.arange(n) // 6 % 3
    return OutOfFold(mean, labels, np.arange(n) // 2, folds, CLASSES), members


def test_networks_that_err_apart_are_worth_more_together() -> None:
    found = together(*asked(600))
    assert isinstance(found.after, Gain)
    for part in (found.before, found.after):
        for one in (part.log_loss, part.brier):
            assert one.difference.ends[1] < 0
        assert part.balanced_accuracy.difference.ends[0] > 0
    # each is bolder than it has reason to be, their mean less so
    assert found.before.slope.members.ends[1] < 0.8
    assert found.before.slope.ensemble.ends[0] > found.before.slope.members.ends[1]
    assert (found.before.n_lesions, found.before.n_patients, found.networks) == (600, 300, 3)


def test_networks_that_say_the_same_gain_nothing() -> None:
    lesions, members = asked(300)
    same = np.repeat(members[:, :1], 3, axis=1)
    alone = replace(lesions, logits=members[:, 0])
    found = together(alone, same)
    for one in (found.before.log_loss, found.before.brier, found.before.slope, found.before.error):
        assert one.difference.value == pytest.approx(0, abs=1e-9)
        assert one.ensemble.value == pytest.approx(one.members.value, abs=1e-9)
    assert found.agreeing.unanimous.value == 1
    assert found.agreeing.right_divided.value is None
    assert found.agreeing.right_divided.n == 0


def test_a_difference_is_that_of_the_figures_it_stands_beside() -> None:
    lesions, members = asked(120)
    each = multinomial.softmax(np.moveaxis(members, 1, 0))
    mean = each.mean(axis=0)
    found = gain(mean, each, lesions.labels, lesions.patients)
    own = np.arange(len(lesions)), lesions.labels
    losses = [-np.log(one[own]).mean() for one in each]
    assert found.log_loss.ensemble.value == pytest.approx(-np.log(mean[own]).mean())
    assert found.log_loss.members.value == pytest.approx(np.mean(losses))
    for one in (found.log_loss, found.brier, found.error, found.balanced_accuracy):
        assert one.difference.value == pytest.approx(one.ensemble.known - one.members.known)


def test_the_difference_is_surer_than_either_figure() -> None:
    """Patients are drawn together, so what is hard for one and all does not blur it."""
    part = together(*asked(300, own=0.5)).before.log_loss
    widths = [one.ends[1] - one.ends[0] for one in (part.difference, part.ensemble, part.members)]
    assert widths[0] < 0.5 * min(widths[1:])


def test_those_who_agree_are_right_more_often() -> None:
    lesions, members = asked(600)
    found = agreeing(lesions.logits, members, lesions.labels, lesions.patients)
    assert isinstance(found, Agreeing)
    assert found.right_unanimous.n + found.right_divided.n == 600
    assert found.unanimous.value == pytest.approx(found.right_unanimous.n / 600)
    assert found.right_unanimous.ends[0] > found.right_divided.ends[1]


def test_one_roi_is_told_by_the_temperature_of_its_probabilities() -> None:
    members = np.array([[[4.0, 0, 0], [2.0, 0, 0], [0, 1.0, 0]]])
    [plain], [cool] = told(members, np.array([0])), told(members, np.array([0]), 2.0)
    assert (plain.networks, plain.agree, plain.words) == (3, 2, "2 of 3 networks agree")
    assert plain.highest == pytest.approx(np.exp(4) / (np.exp(4) + 2), abs=1e-6)
    assert plain.lowest == pytest.approx(1 / (np.e + 2), abs=1e-6)
    assert cool.highest == pytest.approx(np.exp(2) / (np.exp(2) + 2), abs=1e-6)
    [one] = told(members, np.array([1]))
    assert one.words == "1 of 3 networks agrees"


def test_lesions_that_allow_no_temperature_are_told_as_they_are() -> None:
    few = asked(24)
    found = together(*few)
    assert isinstance(found.after, Missing)
    assert "a temperature needs 30" in found.after.missing
    assert found.before.n_lesions == 24


def test_answers_to_other_lesions_are_refused() -> None:
    lesions, members = asked(60)
    each = multinomial.softmax(np.moveaxis(members, 1, 0))
    for mean, others in ((each[0][:50], each), (each[0], each[:0]), (each[0], each[:, :50])):
        with pytest.raises(ValueError, match="same lesions"):
            gain(mean, others, lesions.labels, lesions.patients)
    empty = agreeing(np.zeros((0, 3)), np.zeros((0, 3, 3)), np.zeros(0, int), np.zeros(0, int))
    assert isinstance(empty, Missing)


@pytest.mark.parametrize("why", [None, Missing("nobody asked")])
def test_what_is_kept_is_read_again(why: Missing | None) -> None:
    lesions, members = asked(120)
    plain = Trust.of(lesions, held_out_fold=0).figures
    figures = replace(plain, together=why or together(lesions, members))
    assert read_figures(json.loads(json.dumps(to_json(figures)))) == figures
    assert "together" not in to_json(plain)


def test_lesions_of_others_are_told_by_the_temperature_that_serves() -> None:
    lesions, members = asked(120)
    own = members.mean(axis=1), members, lesions.labels, lesions.patients
    found = on_others(*own, 2.0, "others")
    assert found.before == together(lesions, members).before
    scaled = (multinomial.softmax(one / 2) for one in (own[0], np.moveaxis(members, 1, 0)))
    assert found.after == gain(*scaled, *own[2:])
    assert found.tried_on == "others"
    assert on_others(*own, Missing("none"), "others").after == Missing("none")
