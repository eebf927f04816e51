"""Classic augmentation: the paper's numbers and ranges, nested groups, records that repeat it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from ml.config import Augment, ConfigError
from ml.dataset.augment import Drawn, Rois, count_of, draw, group, views_of
from ml.dataset.manifest import Line, Manifest
from ml.images.roi import Box, View
from ml.lesion import LIVER

PAPER = Augment()


def _views(diameter_px: float = 60.0, settings: Augment = PAPER, seed: int = 0) -> list[View]:
    return draw(np.random.default_rng(seed), diameter_px, settings)


def _line(i: int, lesion_class: str = "cyst", side: float = 12.0) -> Line:
    return Line(
        id=f"{i:04d}",
        file=f"contexts/{i:04d}.npy",
        lesion_class=lesion_class,
        patient=f"p{i}",
        source="phantom",
        box=Box(50 - side / 2, 50 - side / 2, side, side),
        spacing_mm=(0.7, 0.7),
        diameter_mm=0.7 * side,
        seed=None,
        sha256="0" * 64,
    )


class _Cut:
    """Stands for a Manifest: records what is asked for and answers with the view's angle."""

    scheme = LIVER

    def __init__(self) -> None:
        self.asked: list[tuple[str, View]] = []

    def roi(self, line: Line, window_hu: tuple[float, float], view: View) -> np.ndarray:
        self.asked.append((line.id, view))
        return np.full((64, 64), view.angle_deg / 180, np.float32)


def _manifest() -> Manifest:
    return _Cut()  # type: ignore[return-value]


def test_more_views_than_a_lesion_gives_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"per_fold=1000 wants 500 views.*0000 gives 480"):
        group([_line(0), _line(1)], Augment(per_fold=1000), 0)


@pytest.mark.parametrize("change", [{"shift_px": 4.5}, {"tissue_high": 0.5}, {"tissue_low": 0.41}])
def test_views_beyond_the_kept_tissue_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="augment"):
        Augment(**change)


def test_a_lesion_gives_the_papers_480_views() -> None:
    views = _views()
    angles = Counter(view.angle_deg for view in views)
    assert len(views) == PAPER.per_lesion == 480
    assert len(angles) == 30
    assert set(angles.values()) == {1 + 3 + 7 + 5}
    flips = Counter((v.flip_ud, v.flip_lr) for v in views if v.flip_ud or v.flip_lr)
    assert flips == {(True, False): 30, (False, True): 30, (True, True): 30}
    assert sum(view.shift_px != (0.0, 0.0) for view in views) == 30 * 7
    assert sum(view.tissue > 0 for view in views) == 30 * 5


def test_each_view_changes_one_thing_besides_the_angle() -> None:
    for view in _views():
        changed = (view.flip_ud or view.flip_lr) + (view.shift_px != (0, 0)) + (view.tissue > 0)
        assert changed <= 1


@pytest.mark.parametrize(("diameter_px", "reach"), [(15.0, 1.5), (40.0, 4.0), (120.0, 4.0)])
def test_ranges_are_the_papers(diameter_px: float, reach: float) -> None:
    views = _views(diameter_px)
    angles = [view.angle_deg for view in views]
    shifts = np.array([view.shift_px for view in views if view.shift_px != (0, 0)])
    tissue = np.array([view.tissue for view in views if view.tissue > 0])
    assert min(angles) >= 0
    assert max(angles) < 180
    assert max(angles) - min(angles) > 120
    assert 0.9 * reach < np.abs(shifts).max() <= reach
    assert abs(shifts.mean()) < 0.15 * reach
    assert tissue.min() >= 0.1
    assert tissue.max() <= 0.4
    assert tissue.max() - tissue.min() > 0.25


def test_groups_are_nested_and_hold_the_same_number_of_each_lesion() -> None:
    lines = [_line(i, LIVER.keys[i % 3]) for i in range(12)]
    groups = [group(lines, Augment(per_fold=n), 0) for n in (0, 500, 1000, 2000)]
    assert [len(g) for g in groups] == [0, 504, 996, 2004]
    for smaller, larger in pairwise(groups[1:]):
        assert set(smaller) < set(larger)
        assert len(set(Counter(record.line_id for record in larger).values())) == 1


def test_group_counts_each_training_fold() -> None:
    lines = [_line(i) for i in range(10)]
    assert len(group(lines, Augment(per_fold=100), 0, folds=2)) == 200


def test_views_of_a_lesion_depend_on_it_and_the_seed_alone() -> None:
    lines = [_line(i) for i in range(4)]
    alone = views_of(lines[2], PAPER, 0)
    among = [r.view for r in group(lines, Augment(per_fold=400), 0) if r.line_id == "0002"]
    assert among == alone[:100]
    assert alone != views_of(lines[2], PAPER, 1)
    assert alone != views_of(lines[1], PAPER, 0)


def test_image_that_was_the_roi_itself_is_never_shown_with_invented_tissue() -> None:
    alone = replace(_line(0), surroundings=False)
    views = views_of(alone, PAPER, 0)
    assert len(views) == 30 * (1 + 3 + 7)
    assert all(view.tissue == 0 for view in views)
    with pytest.raises(ConfigError, match="0000 gives 330"):
        group([alone], Augment(per_fold=331), 0)


def test_record_survives_json() -> None:
    for view in _views()[:50]:
        record = Drawn("0001", view)
        assert Drawn.from_dict(json.loads(json.dumps(record.to_dict()))) == record


def test_rois_hold_originals_first_with_their_labels_and_records() -> None:
    lines = [_line(0, "metastasis"), _line(1, "cyst")]
    drawn = group(lines, Augment(per_fold=20), 0)
    rois = Rois(_manifest(), (-150, 250))
    steps = list(rois.fill(lines, drawn))
    assert steps[-1].done == steps[-1].total == 22
    assert rois.pixels.shape == (22, 64, 64)
    assert rois.pixels.dtype == np.float32
    assert rois.labels.tolist() == [1, 0] + [1] * 10 + [0] * 10
    assert [record.view for record in rois.records[:2]] == [View(), View()]
    for pixels, record in zip(rois.pixels, rois.records, strict=True):
        assert pixels[0, 0] == np.float32(record.view.angle_deg / 180)
    list(rois.fill([_line(2, "hemangioma")]))
    assert rois.labels[-1] == 2
    assert len(rois.records) == len(rois.pixels) == 23


def test_real_tissue_stands_in_the_corners_of_a_turned_roi(tmp_path: Path) -> None:
    """The lesion sits in a checkered slice: a turned ROI has no constant corner."""
    from ml.images.roi import cut

    y, x = np.mgrid[:200, :200]
    pixels = (((x // 4 + y // 4) % 2) * 100).astype(np.int16)
    box = Box(85, 85, 30, 30)
    for view in draw(np.random.default_rng(0), 30, Augment(rotations=3))[:20]:
        corner = cut(pixels, box, None, -1024.0, view)[:8, :8]
        assert corner.min() > -200
        assert corner.std() > 10


def _cropped(room: float | None, surroundings: bool = True) -> Line:
    return replace(_line(0), room=room, image_size=(72, 72), surroundings=surroundings)


def test_views_with_more_tissue_stay_within_the_image() -> None:
    settings = Augment(rotations=20)
    plain = views_of(replace(_line(0), room=None), settings, 0)
    assert views_of(_cropped(0.4), settings, 0) == plain
    near = views_of(_cropped(0.2), settings, 0)
    assert len(near) == len(plain)
    assert 0.1 <= max(view.tissue for view in near) <= 0.2
    assert all(view.tissue == 0 for view in views_of(_cropped(0.05), settings, 0))
    assert count_of(_cropped(-0.1), settings) == 20 * (1 + 3 + 7)
