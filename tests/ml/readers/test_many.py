import numpy as np
import pytest

from ml.readers.analysis import analyse
from ml.readers.many import Studies, claimed
from ml.statistics.latent import Latent

LAZY = Latent(cuts=(-3.0, -2.5, 1.6, 2.2, 2.6))
COARSE = Latent(reader=0.3, case=0.9, cuts=(0.0,))
CLAIMS = ("different", "equivalent", "generators")


@pytest.mark.parametrize(
    ("model", "areas", "readers", "images", "margin"),
    [
        (Latent(), (0.62,), 4, 60, 0.10),
        (Latent(), (0.5,), 6, 140, 0.10),
        (Latent(), (0.7, 0.58), 4, 50, 0.10),
        (Latent(), (0.7, 0.6, 0.6), 3, 50, 0.20),
        (Latent(), (0.97,), 3, 12, 0.10),
        (Latent(), (0.6,), 3, 8, 0.10),
        (LAZY, (0.5,), 3, 60, 0.25),
        (LAZY, (0.6, 0.5), 3, 40, 0.25),
        (COARSE, (0.6,), 4, 30, 0.10),
        (Latent(cuts=(1.0, 1.6, 2.0, 2.4, 3.0)), (0.5,), 4, 60, 0.10),
        (Latent(reader=0.5, case=0.8), (0.8, 0.7), 3, 12, 0.10),
    ],
)
def test_the_short_way_gives_the_verdicts_of_the_analysis_on_the_same_readings(
    model: Latent, areas: tuple[float, ...], readers: int, images: int, margin: float
) -> None:
    half = images // 2
    drawn = Studies.drawn(model, areas, readers, half, half, 8, np.random.default_rng(3))
    said = drawn.said(margin)
    for study in range(8):
        alone = claimed(analyse(drawn.readings(study), drawn.rules(margin)))
        for claim in CLAIMS:
            assert getattr(said, claim)[study] == getattr(alone, claim)[0], (claim, study)


def test_ordinary_studies_are_not_analysed_one_by_one() -> None:
    drawn = Studies.drawn(Latent(), (0.7, 0.6), 5, 60, 60, 100, np.random.default_rng(0))
    assert drawn.ordinary(0.10).mean() > 0.95


def test_readers_who_hardly_used_the_scale_show_nothing_and_need_no_analysis() -> None:
    drawn = Studies.drawn(LAZY, (0.5,), 3, 30, 30, 20, np.random.default_rng(0))
    said = drawn.said(0.25)
    assert drawn.ordinary(0.25).all() and not (said.equivalent | said.different).any()


def test_constant_readers_are_never_said_to_be_equivalent() -> None:
    ones = np.ones((3, 3, 30), dtype=np.int64)
    assert not Studies(ones, ones[:, None], 6).said(0.10).different.any()


def test_two_readers_say_nothing_of_others() -> None:
    drawn = Studies.drawn(Latent(), (0.8,), 2, 30, 30, 3, np.random.default_rng(0))
    assert not drawn.said(0.10).different.any()
