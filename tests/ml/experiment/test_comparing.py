"""What is said of arms: the corrected family, the words of a verdict, the first sentence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ml.config import EXPERIMENTS, ConfigError, kept
from ml.experiment import comparing
from ml.experiment.results.scores import ArmComparison, ArmSummary, Selection
from ml.statistics.figure import Figure


def _row(arm: str, against: str, value: float, low: float, high: float, p: float) -> ArmComparison:
    gap = Figure(value, low, high)
    return ArmComparison(arm, against, Selection.NESTED, (0, 1), gap, p, None, (1.0, 1.0))


def _summary(name: str, value: float) -> ArmSummary:
    found = Figure(value, value - 0.05, value + 0.05)
    return ArmSummary(name, Selection.NESTED, 2, found, found, ((1.0,),), {}, {}, {})


DCGAN = _row("classic+dcgan", "equal-compute", 0.03, 0.01, 0.05, 0.02)
ACGAN = _row("classic+acgan", "equal-compute", 0.01, -0.02, 0.04, 0.04)


def test_only_the_two_primary_hypotheses_are_one_family() -> None:
    corrected = comparing._corrected((DCGAN, ACGAN), 2)
    assert [row.holm_p for row in corrected] == [0.04, 0.04]
    # the DCGANs collapsed: the ACGAN's hypothesis does not become the only one
    [alone] = comparing._corrected((ACGAN,), 2)
    assert alone.holm_p == 0.08


def test_a_verdict_asks_for_p_and_interval_and_tells_what_is_secondary() -> None:
    classic = _row("classic+dcgan", "classic", 0.04, 0.0, 0.08, 0.03)
    told = list(comparing._of_second(comparing._corrected((DCGAN,), 1), (classic,)))
    assert told[0].startswith(
        "Synthetic ROIs of the DCGANs beat as many more classic ones (equal-compute): balanced "
        "accuracy +3.0 points (95 % interval +1.0 to +5.0), p = 0.020"
    )
    assert "Secondary, not corrected: against classic augmentation alone +4.0 points" in told[0]
    assert told[1].startswith("Synthetic ROIs of the ACGAN could not be tested")
    wide = replace(DCGAN, difference=Figure(0.03, -0.01, 0.07))
    [words, *_] = comparing._of_second(comparing._corrected((wide,), 1), ())
    assert "were not shown to differ from" in words


@pytest.mark.parametrize(
    ("value", "low", "high", "said"),
    [
        (0.03, 0.01, 0.05, "was better than every network"),
        (
            0.00,
            -0.02,
            0.02,
            "scored as high as every network or higher, and was not shown to differ from the best",
        ),
        (-0.01, -0.03, 0.01, "was not shown to be worse than the best network"),
        (-0.03, -0.05, -0.01, "was worse than the best network"),
    ],
)
def test_the_first_sentence_says_how_the_simple_model_stands(
    value: float, low: float, high: float, said: str
) -> None:
    row = _row("features", "classic+acgan", value, low, high, 0.5)
    summary = [_summary("features", 0.8 + value), _summary("classic+acgan", 0.8)]
    told = comparing._simple_words(row, summary)
    assert told.startswith("The simple model (features: ") and f" {said}: " in told
    assert f"balanced accuracy {80 + 100 * value:.1f} %" in told and "best, classic+acgan" in told
    assert "the best is named after the fact" in told


def test_a_run_keeps_the_method_that_it_was_begun_with() -> None:
    dump = EXPERIMENTS["quick"].dump()
    assert kept(dump) == EXPERIMENTS["quick"] and kept(dump).method_version == 2
    del dump["method_version"]
    assert kept(dump) == replace(EXPERIMENTS["quick"], method_version=1)
    with pytest.raises(ConfigError, match="method_version must be 1 to 2"):
        kept({**dump, "method_version": 3})
