"""The arms of the experiment: what each classifier is trained on, and how a size is picked.

=====================  ==============================================================
features               no network: measurements of the real training lesions (simple model)
visual-words           no network: words of the real training lesions' patches (where asked for)
none                   the real training lesions alone
classic                + n classic augmentations per fold
classic+dcgan          + ``base`` classic ones + m DCGAN ROIs per class and fold
classic+acgan          the same with ROIs of the ACGAN
acgan-discriminator    no CNN: the class head of the ACGAN's discriminator
classic+cgan           as classic+acgan with ROIs of the conditional GAN for few lesions
classic+diffusion      the same with ROIs of the diffusion model
classic+tissue         the same with phantom lesions that were pasted into real tissue
equal-compute          + as many classic ones as classic+dcgan has classic and synthetic
duplicate-real         + ``base`` classic ones + the real lesions repeated, m per class
mixup, cutmix          + as many classic ones as equal-compute, mixed in pairs
synthetic-only         DCGAN ROIs alone, as many as the largest classic+dcgan has
oracle                 + ``base`` classic ones + m ROIs of fresh patients (phantoms only)
=====================  ==============================================================

From none to the discriminator they are the paper's (Frid-Adar et al. 2018, section IV). The two
below it are there where ``further_generators`` names their generators, and the next where
``tissue`` names a folder of pasted lesions; the others are controls. Two hypotheses are primary,
and were before any run of this method was begun (`PRIMARY`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ml.config import Experiment, GeneratorKind, SimpleModel

FEATURES, VISUAL = "features", "visual-words"
NONE, CLASSIC, DCGAN, ACGAN = "none", "classic", "classic+dcgan", "classic+acgan"
DISCRIMINATOR, EQUAL = "acgan-discriminator", "equal-compute"
DUPLICATE, MIXUP, CUTMIX = "duplicate-real", "mixup", "cutmix"
SYNTHETIC, ORACLE = "synthetic-only", "oracle"
CGAN, DIFFUSION, TISSUE = "classic+cgan", "classic+diffusion", "classic+tissue"
ARMS = (
    FEATURES, VISUAL, NONE, CLASSIC, DCGAN, ACGAN, DISCRIMINATOR, CGAN, DIFFUSION, TISSUE, EQUAL,
    DUPLICATE, MIXUP, CUTMIX, SYNTHETIC, ORACLE,
)  # fmt: skip
SIMPLE = (FEATURES, VISUAL)
"""Arms without a network, of which ``model`` tells what is chosen."""
PASTED = "tissue"
"""The source of ROIs that nobody trained a generator for: phantom lesions in real tissue."""
FURTHER: Mapping[str, str] = {
    CGAN: GeneratorKind.CGAN.value,
    DIFFUSION: GeneratorKind.DIFFUSION.value,
    TISSUE: PASTED,
}
"""Arms with ROIs beyond the paper, and their sources: only in a run that names them."""
SELECTED = (*SIMPLE, CLASSIC, DCGAN, ACGAN, *FURTHER)
"""Arms whose size, or model, is chosen on validation patients under nested selection."""
MATCHED = (EQUAL, DUPLICATE, MIXUP, CUTMIX, ORACLE)
"""Arms that take the size chosen for classic+dcgan; the largest where no DCGAN was trained."""
NESTED_ALONE = (DUPLICATE, MIXUP, CUTMIX)
"""Of these, what the paper's way of picking a size has no part in: they are no arms of the paper's,
and its way flatters."""
PRIMARY = (DCGAN, ACGAN)
"""Each against equal-compute with as many ROIs: does it help that they are synthetic? Corrected as
a family of these two, whatever became of the generators. All other comparisons are secondary."""
NETWORKS = tuple(arm for arm in ARMS if arm not in (*SIMPLE, ORACLE))
"""Networks trained on the same lesions as the simple model."""


@dataclass(frozen=True, order=True)
class ArmSize:
    """One arm at one size.

    Attributes:
        classic: classic ROIs added per training fold.
        synthetic: ROIs of ``source`` added per class and training fold.
        source: a generator's kind, ``tissue`` (pasted), ``oracle``, ``real`` (lesions repeated) or
            empty.
        real: whether real lesions are trained on.
        model: of the simple model, or the number of visual words; empty for a network.
    """

    arm: str
    classic: int
    synthetic: int = 0
    source: str = ""
    real: bool = True
    model: str = ""

    @property
    def name(self) -> str:
        """For folders and seeds: ``classic+dcgan-1000-400``, ``features-0-0-trees``."""
        of = f"-{self.model}" if self.model else ""
        return f"{self.arm}-{self.classic}-{self.synthetic}{of}"

    @property
    def added(self) -> int:
        """ROIs added per class and training fold beside classic ones."""
        return self.synthetic if self.source else 0

    @property
    def varied(self) -> int:
        """What is varied within the arm."""
        return self.classic if self.arm == CLASSIC else self.synthetic


def sizes(settings: Experiment, classes: int, oracle: bool) -> tuple[ArmSize, ...]:
    """Every arm at every size, in the order of ``ARMS``.

    Args:
        oracle: whether fresh patients can be had.
    """
    base, synthetic = settings.base, settings.synthetic_of(classes)
    found: list[ArmSize] = []
    if settings.method_version > 1:
        found += [ArmSize(FEATURES, 0, model=model) for model in SimpleModel]
        found += [ArmSize(VISUAL, 0, model=str(words)) for words in settings.visual_words]
    found.append(ArmSize(NONE, 0))
    found += [ArmSize(CLASSIC, n) for n in settings.classic]
    found += [ArmSize(DCGAN, base, m, "dcgan") for m in synthetic]
    found += [ArmSize(ACGAN, base, m, "acgan") for m in synthetic]
    found.append(ArmSize(DISCRIMINATOR, base, 0, "acgan"))
    for arm, source in FURTHER.items():
        if source in settings.further_generators or (source == PASTED and settings.tissue):
            found += [ArmSize(arm, base, m, source) for m in synthetic]
    # the size that it is matched to stands in ``synthetic``; nothing synthetic is added
    found += [ArmSize(EQUAL, base + classes * m, m) for m in synthetic]
    if settings.method_version > 1:
        found += [ArmSize(DUPLICATE, base, m, "real") for m in synthetic]
        found += [ArmSize(arm, base + classes * m, m) for arm in (MIXUP, CUTMIX) for m in synthetic]
    whole = -(-(base + classes * synthetic[-1]) // classes)
    found.append(ArmSize(SYNTHETIC, 0, whole, "dcgan", real=False))
    if oracle:
        found += [ArmSize(ORACLE, base, m, "oracle") for m in synthetic]
    return tuple(found)


def most_classic(settings: Experiment, classes: int) -> int:
    """The largest classic group of any arm, per training fold."""
    return max(size.classic for size in sizes(settings, classes, oracle=False))


def most_synthetic(settings: Experiment, classes: int, kind: str) -> int:
    """The largest number of ROIs of this kind of generator in any arm, per class and training
    fold."""
    every = sizes(settings, classes, oracle=False)
    return max(size.synthetic for size in every if size.source == kind)


def pick(scores: Mapping[ArmSize, float], candidates: Sequence[ArmSize]) -> ArmSize:
    """The candidate of the highest score; of equals the smallest, and of models the simplest."""
    return max(candidates, key=lambda size: (round(scores[size], 12), -size.varied))


def equal_to(of: Sequence[ArmSize], size: ArmSize) -> ArmSize:
    """The size of equal-compute that has as many ROIs as a size with synthetic ones."""
    return next(one for one in of if one.arm == EQUAL and one.synthetic == size.synthetic)


def chosen(
    of: Sequence[ArmSize], scores: Mapping[ArmSize, float], arms: Sequence[str] = ARMS
) -> dict[str, ArmSize]:
    """The size that speaks for each arm, given scores of the sizes of ``SELECTED`` arms.

    Arms of one size need no choice; ``MATCHED`` arms take the size of classic+dcgan, or the
    largest where there is none.
    """
    result: dict[str, ArmSize] = {}
    for arm in arms:
        candidates = [size for size in of if size.arm == arm]
        if arm in SELECTED:
            candidates = [size for size in candidates if size in scores]
            if candidates:
                result[arm] = pick(scores, candidates)
        elif arm in MATCHED:
            matched = result.get(DCGAN)
            if candidates:
                # they do not need the DCGANs: where those failed, the largest size
                most = max(candidates, key=lambda size: size.synthetic)
                same = [s for s in candidates if matched and s.synthetic == matched.synthetic]
                result[arm] = same[0] if same else most
        elif candidates:
            result[arm] = candidates[0]
    return result
