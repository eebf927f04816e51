"""A program that reads the same images: the classifier two-sample test, beside human readers.

Lopez-Paz & Oquab (2017, ICLR; arXiv 1610.06545): if a classifier trained on some of the images
tells the rest apart better than chance, the two kinds differ. Here it is a ridge logistic
regression on the cheap measures of `ml.leak_audit.content`, so it is a lower bound: a network
would find more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.leak_audit import content, rendering
from ml.leak_audit.rendering import Encoded
from ml.statistics import logistic, roc
from ml.statistics.figure import Figure
from ml.statistics.proportion import wilson

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

FOLDS = 5
LEAST = 2 * FOLDS
"""Images of each kind that it needs."""
_RIDGE = 1.0
_CUT = 5.0
"""Standardised measures are cut here: one odd image must not lead."""

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
    scores = _out_of_fold(table, truth, _folds(truth, labels, seed))
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


def _folds(truth: Labels, clusters: NDArray[np.str_], seed: int) -> Labels:
    """A fold for each image: clusters whole, the kinds spread evenly."""
    rng = np.random.default_rng(seed)
    names = sorted(set(clusters.tolist()))
    sizes = {name: np.bincount(truth[clusters == name], minlength=2) for name in names}
    order = [names[int(k)] for k in rng.permutation(len(names))]
    order.sort(key=lambda name: -int(sizes[name].sum()))  # the large ones first; else as drawn
    filled = np.zeros((FOLDS, 2))
    where = {}
    for name in order:
        kinds = sizes[name] > 0
        fold = int(np.argmin(filled[:, kinds].sum(axis=1)))
        filled[fold] += sizes[name]
        where[name] = fold
    return np.array([where[name] for name in clusters.tolist()], dtype=np.int64)


def _out_of_fold(table: Floats, truth: Labels, fold: Labels) -> Floats:
    """Log odds of synthetic (n,), each by a model of the other folds."""
    scores = np.zeros(len(truth))
    penalty = np.full(table.shape[1] + 1, _RIDGE)
    penalty[0] = 1e-6  # spares the intercept, but for what keeps it finite
    for k in range(FOLDS):
        train, test = fold != k, fold == k
        centre, scale = table[train].mean(axis=0), table[train].std(axis=0)
        scale[scale == 0] = 1.0
        standard = np.clip((table - centre) / scale, -_CUT, _CUT)
        design = np.column_stack([np.ones(len(standard)), standard])
        found = logistic.fit(design[train], truth[train], penalty, steps=30, tolerance=1e-8)
        assert found is not None  # a ridge leaves nothing singular
        scores[test] = design[test] @ found.weights
    return scores
