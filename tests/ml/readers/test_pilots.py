from dataclasses import replace

import numpy as np
import pytest

from ml.readers.many import Studies
from ml.readers.pilots import estimate
from ml.readers.reading import present, ratings_by_generator
from ml.statistics.latent import Latent
from ml.statistics.proportion import ReadersError
from ml.statistics.ratings import Ratings

MODEL = Latent(reader=0.06, case=0.65, cuts=(-1.0, 0.2, 0.9))


def pilot(readers: int, half: int, model: Latent = MODEL, areas: tuple[float, ...] = (0.65,)):  # type: ignore[no-untyped-def]
    drawn = Studies.drawn(model, areas, readers, half, half, 1, np.random.default_rng(5))
    return ratings_by_generator(present(drawn.readings(0)).first)


def apart(block: Ratings) -> Ratings:
    """Each reader with images of their own."""
    own = np.arange(len(block.cases)) // 2 % len(block.readers)
    theirs = own == np.arange(len(block.readers))[:, None]
    return replace(block, scores=np.where(theirs, block.scores, np.nan))


def alike(block: Ratings) -> Ratings:
    """One reader under three names."""
    return replace(block, scores=np.repeat(block.scores[:, :1], len(block.readers), axis=1))


@pytest.mark.parametrize(
    ("block", "why"),
    [
        (pilot(1, 30), "1 reader says nothing"),
        (pilot(3, 4), "one has 4"),
        (pilot(3, 40, areas=(0.995,)), "at the edge"),
        (Ratings(("a", "b"), ("t",), tuple("abcdefghijkl"), np.repeat([0, 1], 6),
                 np.ones((1, 2, 12))), "pilot.csv: .*do not vary"),
        (apart(pilot(3, 60)), "no image was read by two of its readers"),
        (alike(pilot(3, 40)), "all the same area"),
    ],
)  # fmt: skip
def test_a_pilot_that_says_nothing_of_readers_is_refused(block: Ratings, why: str) -> None:
    with pytest.raises(ReadersError, match=why):
        estimate(block, "pilot.csv")


def test_a_large_pilot_gives_its_readers_back() -> None:
    found = estimate(pilot(30, 250), "pilot.csv")
    assert found.reader.low < MODEL.reader < found.reader.high
    assert found.case.value == pytest.approx(MODEL.case, abs=0.06)
    assert found.model().cuts == pytest.approx(MODEL.cuts, abs=0.15)
    assert found.areas[0] == pytest.approx(MODEL.true_areas((0.65,))[0], abs=0.06)
    assert found.model(cautious=True).reader > found.model().reader


def test_a_small_pilot_says_how_little_it_knows() -> None:
    found = estimate(pilot(3, 20, areas=(0.65, 0.6)), "pilot.csv")
    assert found.spread.high - found.spread.low > 0.08
    said = " ".join(found.words)
    assert (
        "3 readers and 60 images" in said and "says little" in said and "never the effect" in said
    )
    assert f"{found.spread.high:.3f}" in said
    assert found.cautious_reader >= found.reader.value


def test_a_scale_of_a_hundred_points_leaves_the_usual_cuts() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1], 20)
    scores = np.clip(rng.normal(45 + 10 * truth, 15, (1, 3, 40)).round(), 0, 100)
    block = Ratings(("a", "b", "c"), ("t",), tuple(map(str, range(40))), truth, scores)
    found = estimate(block, "pilot.csv")
    assert found.cuts is None and found.model().cuts == Latent().cuts
    assert any("more than 10 points" in one for one in found.words)
