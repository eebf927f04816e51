"""What Frid-Adar et al. (2018) published, on private data: for comparison, never as a baseline.

The points of figure 8 are counts of 182 lesions, read off the figure (every marker lies within
0.15 of a whole count); the matrices are tables I and II.
"""

from __future__ import annotations

LESIONS = 182
FOLDS = 3
"""All but one of which train; what is told per fold is added so many times."""
CLASSIC = (
    (0, 104), (500, 130), (1000, 136), (2000, 141), (3000, 141), (5000, 143), (7500, 143),
    (10000, 142), (15000, 142),
)  # fmt: skip
"""Classic ROIs added per fold, lesions named rightly."""
DCGAN = (
    (5000, 143), (5300, 147), (6500, 152), (8000, 156), (11000, 156), (14000, 155), (17000, 155),
)  # fmt: skip
"""Classic and synthetic ROIs added per fold, lesions named rightly."""
SUMMARY = {
    "none": (104, None, None),
    "classic": (143, 0.786, 0.884),
    "classic+dcgan": (156, 0.857, 0.924),
    "classic+acgan": (148, 0.813, 0.900),
    "acgan-discriminator": (144, 0.791, 0.888),
}
"""Per arm: lesions named rightly, weighted sensitivity and specificity (printed truncated)."""
MATRICES = {
    "classic": ((52, 1, 0), (2, 44, 18), (0, 18, 47)),
    "classic+dcgan": ((53, 0, 0), (2, 52, 10), (1, 13, 51)),
}
CLASSES = ("cyst", "metastasis", "hemangioma")

_CHOICES = (
    ("Folds", "{folds} The paper's fold sizes (63, 63, 62) do not add up to its 182 lesions."),
    ("Added {each}", "{added}; every lesion gives the same number of views; smaller groups are "
     "parts of larger ones."),
    ("Window", "−150 … 250 HU to −1 … 1 for HU; the whole range of grey for other images. The "
     "paper gives none."),
    ("Margin of the ROI", "0.28 lesion diameters on each side, measured on the paper's figure 3."),
    ("CNN", "unpadded convolutions, the only reading with 1.3 M parameters; Glorot weights; "
     "momentum 0.9 (Nesterov); the scalar mean of the training ROIs is subtracted."),
    ("DCGAN", "uniform latent in training and in drawing; averaged weights with their own batch "
     "statistics; the last epoch is kept; a collapsed training is restarted with the next seed."),
    ("ACGAN", "the DCGAN's networks with a class head, as the paper says in the end; the class "
     "enters as a factor of the latent vector; as a classifier its batch statistics are those of "
     "real training ROIs."),
    ("Base of the synthetic arms", "a classic size fixed beforehand (the paper's 5000 at the "
     "preset “paper”), the same for the generators' training sets."),
    ("Nested selection", "one part of the training patients is set aside; classifiers and "
     "generators are trained without it; the size with the best balanced accuracy on it is then "
     "trained on all training patients. Equals: the smaller size."),
    ("Equal compute", "classic augmentation with as many ROIs as classic and synthetic together, "
     "at the size chosen for the DCGAN; the oracle takes the same size."),
    ("Few steps", "at the preset “compact” every classifier makes 600 steps: small training sets "
     "are gone through more often (least_steps), the learning rate rises and falls "
     "(classifier.schedule), gradients are shortened (classifier.clip). The paper: 150 epochs at a "
     "constant rate, as at the preset “paper”."),
    ("Synthetic-only", "DCGAN ROIs alone, as many as the largest classic + DCGAN has ROIs."),
    ("Oracle", "phantoms only: ROIs of fresh patients in the place of synthetic ones, from one "
     "pool for all folds and seeds."),
    ("Precision", "augmented and synthetic ROIs are kept in half precision, test ROIs are not; "
     "products in float32 on the CPU (bfloat16 where classifier.precision says so), in TF32 on "
     "a GPU."),
    ("Statistics", "balanced accuracy, seeds averaged. {inference} Exact limits: Clopper–Pearson, "
     "of areas Newcombe, where fewer than five patients are right or wrong. {family}; McNemar "
     "per seed tests two networks, not two methods."),
)  # fmt: skip
_SECOND = (
    ("Simple model", "measurements of the real training lesions, no views, no network; which of "
     "three models speaks in a fold is chosen as the sizes of the other arms are."),
    ("Visual words", "an arm where visual_words gives sizes of its vocabulary: patches of 8 × 8 "
     "pixels, principal components, k-means and logistic regression, all of the real training "
     "lesions alone."),
    ("Duplicate-real", "plain ROIs of the real training lesions, repeated, in the place of the "
     "DCGANs' and as many: more of the same."),
    ("MixUp, CutMix", "the classic ROIs of equal-compute and as many steps; pairs are mixed anew "
     "in every epoch, shares from a beta distribution with both parameters 0.2 (MixUp) or 1 "
     "(CutMix), as in Zhang et al. 2018 and Yun et al. 2019; labels are mixed alike."),
    ("Primary hypotheses", "classic + DCGAN and classic + ACGAN, each against equal-compute with "
     "as many ROIs in each fold; fixed in the program before a run is begun. All else is "
     "secondary."),
)  # fmt: skip
INFERENCE = (
    "95 % bootstrap over patients with seeds drawn again within, widened to exact limits where "
    "arms differ on few patients; p by sign-flip permutation of patients."
)
"""Of results that do not say how intervals and p were made."""
_FOLDS = {
    False: "by patient, balanced over classes; another partition for every seed.",
    True: "none: the data set's own split, the same in every seed.",
}
"""By whether the split is the data set's own."""
_ADDED = {
    False: (
        "“per fold”",
        "the paper trains on two folds, so a group of n adds 2 n ROIs",
    ),
    True: (
        "“in all”",
        "the data set names who trains, so sizes are told for its training part as a whole: the "
        "settings' sizes, which are per fold, times folds − 1; the paper's times two",
    ),
}
"""By whether the split is the data set's own: how sizes are told."""
_FAMILIES = {1: "Holm over all arms against classic", 2: "Holm over the two primary hypotheses"}


def intervals(inference: str | None) -> str:
    """How the intervals of scores were made, in a few words.

    Args:
        inference: as of ``choices``.
    """
    if inference is None:
        return "bootstrap over patients and seeds"
    return "bootstrap over patients, stretched by chance of training as far as seeds tell of it"


def choices(method: int, inference: str | None, given: bool = False) -> tuple[tuple[str, str], ...]:
    """Where the paper is silent or contradicts itself: what was done here.

    Args:
        method: the ``method_version`` of the run.
        inference: how its intervals and p were made, where its results say it.
        given: the split is the data set's own: there are no folds to tell sizes by.
    """
    more = _SECOND if method > 1 else ()
    filled = {"{family}": _FAMILIES[method], "{inference}": inference or INFERENCE}
    filled["{folds}"] = _FOLDS[given]
    filled |= dict(zip(("{each}", "{added}"), _ADDED[given], strict=True))
    told = []
    for what, how in (*_CHOICES, *more):
        for name, words in filled.items():
            what, how = what.replace(name, words), how.replace(name, words)
        told.append((what, how))
    return tuple(told)
