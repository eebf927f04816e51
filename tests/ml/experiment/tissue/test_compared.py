"""Two tissues side by side: alike where they are, told apart where they are not."""

from __future__ import annotations

import numpy as np
import pytest

from ml.experiment.tissue import TissueError, compared
from tests.ml.experiment.tissue.livers import liver_slice


def squares(name, patients, **more):
    rng = np.random.default_rng(1)
    made = []
    for k in range(patients):
        one = liver_slice(1000 * len(name) + k, patient=f"{name}{k}", **more)
        made.append(compared.of_real(one, rng))
    return made


def test_tissue_of_one_kind_is_not_told_apart():
    found = compared.compare(squares("a", 30), squares("bb", 30), liver_slice())
    for told in found.told:
        assert told.area.low < 0.5 < told.area.high, told
    assert np.median([abs(row.gap) for row in found.rows]) < 0.5
    assert found.patients == (30, 30)


def test_finer_noise_and_more_of_it_are_found_and_named():
    found = compared.compare(
        squares("a", 20, noise=9, cutoff=0.30), squares("bb", 20, noise=16), liver_slice()
    )
    assert found.told[0].area.low > 0.8
    assert found.told[2].area.value > 0.8  # by its pattern alone
    rows = {row.what: row for row in found.rows}
    assert rows["standard deviation"].phantom.value == pytest.approx(9, rel=0.15)
    assert rows["standard deviation"].real.value == pytest.approx(16, rel=0.15)
    assert rows["autocorrelation at 1.5 mm"].gap < -1
    power = [row.real.value for what, row in rows.items() if what.startswith("power")]
    assert sum(power) == pytest.approx(100)


def test_a_square_lies_in_the_liver_or_is_not_made():
    rng = np.random.default_rng(0)
    one = liver_slice(0)
    one.hu[~one.inner] = -999
    assert all(compared.of_real(one, rng).hu.min() > -999 for _ in range(5))
    assert compared.of_real(liver_slice(0, axes=(14, 12)), rng) is None


def test_few_patients_are_refused():
    with pytest.raises(TissueError, match="4 real patients have room"):
        compared.compare(squares("a", 12), squares("bb", 4), liver_slice())
    with pytest.raises(TissueError, match="Texture is compared"):
        compared.side_px(liver_slice(spacing=4.0))
