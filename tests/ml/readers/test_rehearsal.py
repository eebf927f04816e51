import json

import numpy as np
import pytest

from ml.readers.analysis import analyse
from ml.readers.reading import Protocol
from ml.readers.rehearsal import (
    OWN,
    POOLED,
    RECOMMENDED,
    Design,
    Probit,
    Rehearsal,
    RoeMetz,
    simulate,
)  # fmt: skip
from ml.statistics import roc
from ml.statistics.proportion import ReadersError


@pytest.mark.parametrize("wrong", [{"readers": 0}, {"images": 3}, {"synthetic_share": 1.0}])
def test_a_design_that_cannot_be_rehearsed_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ReadersError):
        Design(**wrong)  # type: ignore[arg-type]


def test_impossible_variances_are_refused() -> None:
    with pytest.raises(ReadersError):
        RoeMetz(case=1.5)
    with pytest.raises(ReadersError):
        RoeMetz(cuts=(1.0, 0.0))


def test_the_closed_form_area_is_the_mean_of_many_simulated_readers() -> None:
    model = RoeMetz.with_area(0.75, reader=0.2)
    truth = np.repeat([0, 1], 200)
    rng = np.random.default_rng(0)
    areas, own = [], []
    for _ in range(60):
        rated, true_areas = model.draw(truth, 5, rng)
        areas += [roc.auc(truth, row) for row in rated]
        own += true_areas.tolist()
    assert np.mean(areas) == pytest.approx(model.area(), abs=0.012)
    assert np.mean(own) == pytest.approx(model.area(), abs=0.012)
    assert set(np.unique(rated)) <= set(range(1, 7))


def test_the_closed_form_accuracy_is_the_mean_of_many_simulated_readers() -> None:
    model = Probit()
    right = model.draw(4000, 400, np.random.default_rng(0))
    assert right.mean() == pytest.approx(model.accuracy(), abs=0.012)


def test_a_simulated_study_passes_through_the_real_analysis() -> None:
    rows, _ = simulate(Design(), np.random.default_rng(0))
    assert len({(r.reader, r.position) for r in rows}) == len(rows)
    assert analyse(rows, Protocol(resamples=0)).counts.images == 120


@pytest.mark.long
def test_coverage_of_the_recommended_analysis_and_failure_of_pooling() -> None:
    """A short run; the full one (500 studies) is `python -m ml readers rehearse`."""
    rehearsal = Rehearsal(Design(ratings=RoeMetz.with_area(0.6)), studies=60, seed=2)
    steps = list(rehearsal.run())
    assert steps[-1].done == steps[-1].total == 60
    found = {c.name: c for c in rehearsal.outcome().coverage}
    assert found[RECOMMENDED].high > 0.95 and found[RECOMMENDED].coverage > 0.85
    assert found[OWN].n == 300 and found[OWN].coverage > 0.9
    assert found[POOLED].high < 0.85


def test_the_same_seed_gives_the_same_rehearsal() -> None:
    runs = [Rehearsal(Design(3, 40), studies=3, seed=s) for s in (1, 1, 2)]
    for run in runs:
        list(run.run())
    results = [run.outcome().coverage for run in runs]
    assert results[0] == results[1] != results[2]


def test_the_json_of_an_outcome_has_the_whole_design_and_no_figure_of_nothing() -> None:
    alone = Rehearsal(Design(1, 24), studies=2, seed=0)
    list(alone.run())
    told = json.loads(json.dumps(alone.outcome().to_json(), allow_nan=False))
    assert told["design"]["ratings"]["cuts"] == list(RoeMetz().cuts)
    nothing = next(row for row in told["coverage"] if row["name"] == RECOMMENDED)
    assert nothing == {"name": RECOMMENDED, "coverage": None, "n": 0}
    assert told["verdicts"]["across"] == {"equivalent": None, "different": None, "n": 0}
