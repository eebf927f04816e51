"""A program that reads the same images: the classifier two-sample test, beside human readers.

See `ml.statistics.two_sample`. Here the columns are the cheap measures of `ml.leak_audit.content`,
so it is a lower bound: a network would find more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.leak_audit import content, rendering
from ml.leak_audit.rendering import Encoded
from ml.statistics import roc, two_sample
from ml.statistics.figure import Figure
from ml.statistics.proportion import wilson
from ml.statistics.two_sample import FOLDS, LEAST

Floats = NDArray[np.float64]

_RIDGE = 1.0

WHAT = (
    "ridge logistic regression on {features} measures of brightness, texture, noise and spectrum, "
    "{folds} folds, patients kept together, every image scored by a model that did not see it"
)


@dataclass(frozen=True)
class SecondReader:
    """What the program made of the images.

    Attributes:
        auc: area of its scores, real against synthetic, with a 95 % interval (patient-clustered
            where patients repeat).
        accuracy, sensitivity, specificity: shares of all, of synthetic and of real images that it
            called right, at even odds.
        what: what the program is.
        refused: why there are no figures; then they are None.
        pairs: where images were shown in pairs, the share of them in which the synthetic image has
            the higher score, with Wilson's interval.
    """

    auc: Figure | None
    accuracy: Figure | None
    sensitivity: Figure | None
    specificity: Figure | None
    what: str
    refused: str | None = None
    pairs: Figure | None = None


def read(
    images: Sequence[bytes],
    synthetic: Sequence[bool],
    clusters: Sequence[str],
    *,
    pairs: Sequence[tuple[int, int]] = (),
    resamples: int = roc.RESAMPLES,
    seed: int = 0,
) -> SecondReader:
    """Let the program read encoded pictures (n), out of fold.

    Args:
        images: as a reader's browser gets them.
        synthetic: the truth of each.
        clusters: a label of each; those with the same are in one fold, as of one patient.
        pairs: places of images that were shown side by side, the synthetic one first.

    Raises:
        LeakAuditError: an image that cannot be read.
    """
    truth = np.array(synthetic, dtype=np.int64)
    labels = np.asarray(clusters)
    groups = [len(set(labels[truth == kind].tolist())) for kind in (0, 1)]
    if min(groups) < LEAST:
        return SecondReader(
            None, None, None, None, "",
            f"the program needs {LEAST} real and {LEAST} synthetic images of different patients, "
            f"and there are {groups[0]} and {groups[1]}",
        )  # fmt: skip
    table = _measures(images)
    table = table[:, np.ptp(table, axis=0) > 0]
    if not table.shape[1]:
        return SecondReader(None, None, None, None, "", "all images measure alike")
    scores = two_sample.out_of_part(
        table, truth, two_sample.parts(truth, labels, FOLDS, seed), _RIDGE
    )
    hits, passed = scores[truth == 1] > 0, scores[truth == 0] <= 0
    return SecondReader(
        roc.auc_interval(truth, scores, 0.95, clusters, resamples, seed),
        wilson(int(hits.sum() + passed.sum()), len(truth)),
        wilson(int(hits.sum()), len(hits)),
        wilson(int(passed.sum()), len(passed)),
        WHAT.format(features=table.shape[1], folds=FOLDS),
        pairs=wilson(sum(bool(scores[one] > scores[other]) for one, other in pairs), len(pairs))
        if pairs
        else None,
    )


def _measures(images: Sequence[bytes]) -> Floats:
    rows = []
    for data in images:
        opened = rendering.read(Encoded(data, "image"))
        rows.append(list(content.features(opened.pixels, opened.top).values()))
    return np.array(rows, dtype=np.float64)
