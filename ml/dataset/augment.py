"""Classic augmentation: draw a view → cut it from the whole slice → keep the record.

Frid-Adar et al. (2018, sections III-A and IV-B). Every view is cut from the slice, not made from
the small ROI, so a turned or shifted ROI shows real tissue in its corners.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.config import Augment, Config, ConfigError, seed_for
from ml.dataset.manifest import Line, Manifest
from ml.images.roi import View
from ml.lesion import ROI_SIZE_PX
from ml.progress import Progress

_FLIPS = ((True, False), (False, True), (True, True))


@dataclass(frozen=True)
class Drawn:
    """What was done to which line; enough to make the same ROI again."""

    line_id: str
    view: View

    def to_dict(self) -> dict[str, object]:
        """``{"line", "angle_deg", "flip_ud", "flip_lr", "shift_px", "tissue"}``, as logged."""
        return {"line": self.line_id, **asdict(self.view)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Drawn:
        """The inverse of ``to_dict``.

        Raises:
            ViewError: a shift or tissue outside the range that a data set keeps pixels for.
        """
        values = dict(data)
        line = str(values.pop("line"))
        values["shift_px"] = tuple(values["shift_px"])
        return cls(line, View(**values))


def draw(rng: np.random.Generator, diameter_px: float, settings: Augment) -> list[View]:
    """All N = N_rot (1 + N_flip + N_trans + N_scale) views of one lesion, in random order.

    Angles are uniform in 0–180°, shifts uniform in ±min(``shift_px``, ``shift_share`` · d) on
    both axes, extra margin uniform in ``tissue_low``–``tissue_high`` · d per side. Any prefix of
    the list is a smaller group, so groups are nested (section IV-B).

    Args:
        diameter_px: the lesion's diameter d in pixels of the slice, above 0.
    """
    reach = min(settings.shift_px, settings.shift_share * diameter_px)
    views: list[View] = []
    for angle in rng.uniform(0.0, 180.0, settings.rotations):
        angle_deg = float(angle)
        views.append(View(angle_deg=angle_deg))
        for up_down, left_right in _FLIPS[: settings.flips]:
            views.append(View(angle_deg=angle_deg, flip_ud=up_down, flip_lr=left_right))
        for x, y in rng.uniform(-reach, reach, (settings.translations, 2)):
            views.append(View(angle_deg=angle_deg, shift_px=(float(x), float(y))))
        for tissue in rng.uniform(settings.tissue_low, settings.tissue_high, settings.scales):
            views.append(View(angle_deg=angle_deg, tissue=float(tissue)))
    return [views[i] for i in rng.permutation(len(views))]


def views_of(line: Line, settings: Augment, seed: int) -> list[View]:
    """The views of one line; the same whichever fold, arm or order asks for them.

    Views with more tissue stay within the image: where it has less around the ROI than
    ``tissue_high``, that is the most; where it has less than ``tissue_low``, or is the ROI itself,
    there are none of that kind, and N is smaller.
    """
    rng = np.random.default_rng(seed_for("augment", line.id, seed))
    return draw(rng, max(line.box.width, line.box.height), _for(line, settings))


def count_of(line: Line, settings: Augment) -> int:
    """How many views ``views_of`` would give, without drawing them."""
    return _for(line, settings).per_lesion


def _for(line: Line, settings: Augment) -> Augment:
    if not line.surroundings:
        return replace(settings, scales=0)
    if line.room is None or line.room >= settings.tissue_high:
        return settings
    if line.room < settings.tissue_low:
        return replace(settings, scales=0)
    return replace(settings, tissue_high=line.room)


def most_per_fold(lines: Iterable[Line], settings: Augment, folds: int) -> int:
    """The largest ``per_fold`` that the views of some training lines allow.

    Args:
        folds: number of training folds.
    """
    counts = [count_of(line, settings) for line in lines]
    return min(counts, default=0) * len(counts) // folds


def capped(settings: Config, trains: Sequence[Iterable[Line]]) -> tuple[Config, str | None]:
    """Settings whose ``augment.per_fold`` every training part can give, and what was changed.

    Args:
        trains: the training lines of each fold that is to be trained.
    """
    told = settings.augment
    most = min(most_per_fold(lines, told, settings.folds - 1) for lines in trains)
    if told.per_fold <= most:
        return settings, None
    words = (
        f"augment.per_fold={most}, not {told.per_fold}: the lesions here give no more "
        f"(raise augment.rotations for more)"
    )
    return replace(settings, augment=replace(told, per_fold=most)), words


def group(lines: Iterable[Line], settings: Augment, seed: int, folds: int = 1) -> list[Drawn]:
    """The augmented group of some training lines: the same number of views for each lesion.

    Args:
        folds: number of training folds; each adds ``settings.per_fold`` (rounded to a whole
            number of views per lesion).

    Raises:
        ConfigError: more views per lesion asked for than N.
    """
    chosen = list(lines)
    if not chosen or settings.per_fold == 0:
        return []
    each = round(settings.per_fold * folds / len(chosen))
    drawn: list[Drawn] = []
    for line in chosen:
        if each > count_of(line, settings):
            raise ConfigError(
                f"augment.per_fold={settings.per_fold} wants {each} views of each of "
                f"{len(chosen)} lesions, but ROI {line.id} gives {count_of(line, settings)}; "
                f"set augment.per_fold={most_per_fold(chosen, settings, folds)} or less, or raise "
                "augment.rotations."
            )
        drawn.extend(Drawn(line.id, view) for view in views_of(line, settings, seed)[:each])
    return drawn


class Rois:
    """ROIs of a training set in one array, filled step by step so that progress can be told.

    Attributes:
        pixels: (n, 64, 64) float32 in [-1, 1]; originals first, then the augmented group.
        labels: (n,) int64, positions in the scheme.
        records: one Drawn per ROI (an original has the plain View).
    """

    def __init__(self, manifest: Manifest, window_hu: tuple[float, float]) -> None:
        self.manifest = manifest
        self.window_hu = window_hu
        self.pixels: npt.NDArray[np.float32] = np.zeros((0, ROI_SIZE_PX, ROI_SIZE_PX), np.float32)
        self.labels: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self.records: list[Drawn] = []

    def fill(self, lines: Iterable[Line], drawn: Iterable[Drawn] = ()) -> Iterator[Progress]:
        """Cut the originals of ``lines`` and the ``drawn`` views of them."""
        by_id = {line.id: line for line in lines}
        records = [*(Drawn(key, View()) for key in by_id), *drawn]
        records_pixels = np.empty((len(records), ROI_SIZE_PX, ROI_SIZE_PX), np.float32)
        for i, record in enumerate(records):
            line = by_id[record.line_id]
            records_pixels[i] = self.manifest.roi(line, self.window_hu, record.view)
            if i % 500 == 0:
                yield Progress(i, len(records), f"cutting ROIs: {i} of {len(records)}")
        scheme = self.manifest.scheme
        labels = [scheme.index(by_id[record.line_id].lesion_class) for record in records]
        self.pixels = np.concatenate([self.pixels, records_pixels])
        self.labels = np.concatenate([self.labels, np.asarray(labels, np.int64)])
        self.records.extend(records)
        yield Progress(len(records), len(records), f"cut {len(records)} ROIs")
