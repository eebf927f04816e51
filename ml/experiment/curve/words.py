"""The curve as a page of Markdown for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ml.checkpoints.card.escaping import table
from ml.experiment import arms
from ml.experiment.comparing import LEAST_SEEDS, NAMES
from ml.experiment.curve.figure import PAPERS_LESIONS
from ml.experiment.curve.record import Curve, Gap, Point
from ml.experiment.report import figures, paper, svg
from ml.statistics.comparison import p_text

PHANTOM = (
    "**Phantom results**: simulated CT with known truth, no patient. They tell how the arms do on "
    "these phantoms at this width and number of steps, and nothing about lesions of people."
)

_OTHERS = "as many more classic ones"
_ONE_SEED = (
    "One seed: chance of training, and of which patients train, is in no interval and no p here, "
    "and nothing is called shown. Three seeds or more tell."
)


def answer(found: Curve) -> Iterator[str]:
    """Where do synthetic ROIs help? A sentence for each generator."""
    for arm in arms.PRIMARY:
        gaps = [gap for gap in found.primary if gap.arm == arm]
        better = [gap.size for gap in gaps if _shown(gap, 1)]
        worse = [gap.size for gap in gaps if _shown(gap, -1)]
        open_ = [gap.size for gap in gaps if gap.size not in (*better, *worse)]
        told = [
            *([f"beat {_OTHERS} at {_listed(better)}"] if better else []),
            *([f"were worse than {_OTHERS} at {_listed(worse)}"] if worse else []),
            *(
                [f"were not shown to differ from as many more classic ones at {_listed(open_)}"]
                if open_
                else []
            ),
            *([] if gaps else ["could not be tested: generators collapsed in every seed"]),
        ]
        yield f"{NAMES[arm]} {', '.join(told)} training lesions."
    if len(found.seeds) < LEAST_SEEDS:
        yield _ONE_SEED


def _shown(gap: Gap, sign: int) -> bool:
    ends = gap.difference.ends
    if ends is None or len(gap.seeds) < LEAST_SEEDS or gap.holm_p is None or gap.holm_p >= 0.05:
        return False
    return ends[0] > 0 if sign > 0 else ends[1] < 0


def _listed(sizes: Sequence[int]) -> str:
    return " and ".join(filter(None, (", ".join(map(str, sizes[:-1])), str(sizes[-1]))))


def page(found: Curve, picture: str) -> str:
    """The whole page.

    Args:
        picture: the file of the figure beside it.
    """
    config = found.config
    return "\n".join(
        [
            "# Learning curves on phantoms",
            "",
            PHANTOM,
            "",
            *answer(found),
            "",
            f"![Balanced accuracy by the number of training lesions]({picture})",
            "",
            f"Bands are 95 % intervals. {svg.ON_EACH_OTHER} Beside it, dashed, what Frid-Adar et "
            f"al. (2018) claimed that DCGANs added, of {PAPERS_LESIONS} private "
            f"training lesions (two of three folds of {paper.LESIONS}), weighted by class counts: "
            f"{_claimed()}. Their lesions are others, so that heights cannot be compared.",
            "",
            "## Balanced accuracy",
            "",
            *balanced(found),
            "",
            f"Percent with 95 % intervals, on {found.fresh.test_lesions} fresh lesions, as many of "
            "each class, so that it is the mean sensitivity too; the mean specificity is "
            "1 − (1 − balanced accuracy) / 2.",
            "",
            "## Synthetic ROIs against as many classic ones",
            "",
            *differences(found.primary),
            "",
            f"Points of balanced accuracy; p by Holm over {len(arms.PRIMARY) * len(found.sizes)} "
            "hypotheses, which were named before: each generator at each number of lesions.",
            "",
            "## Other comparisons (secondary, not corrected)",
            "",
            *differences(found.secondary),
            "",
            "## By class",
            "",
            *by_class(found),
            "",
            "Sensitivity / specificity, percent, with 95 % intervals.",
            "",
            "## How",
            "",
            *(f"- {line}" for line in _how(found)),
            "",
            "| seed | asked | lesions | patients | of each class | data set |",
            "|---|---|---|---|---|---|",
            *(
                f"| {one.seed} | {one.size} | {one.lesions} | {one.patients} | "
                f"{', '.join(f'{number} {key}' for key, number in one.counts.items())} | "
                f"{one.digest[:12]} |"
                for one in found.cohorts
            ),
            "",
            *(f"- {name} gave nothing: {why}" for name, why in found.failed.items()),
            f"Made by: `{found.command}` (commit {found.commit}, phantom version "
            f"{found.phantom_version}, fresh seed {config['fresh_seed']})",
            "",
        ]
    )


def _claimed() -> str:
    """What the DCGANs added to classic augmentation, as it was published."""
    _, *before = paper.SUMMARY[arms.CLASSIC]
    _, *after = paper.SUMMARY[arms.DCGAN]
    return ", ".join(
        f"{what} {100 * low:.1f} to {100 * high:.1f} %"
        for what, low, high in zip(("sensitivity", "specificity"), before, after, strict=True)
        if low is not None and high is not None
    )


def balanced(found: Curve) -> list[str]:
    """A table: arms by sizes."""
    at = {(one.arm, one.size): one for one in found.points}
    return table(
        ["arm", *(f"{size} lesions" for size in found.sizes)],
        [
            [arm, *(_share(at.get((arm, size))) for size in found.sizes)]
            for arm in arms.ARMS
            if any((arm, size) in at for size in found.sizes)
        ],
    )


def _share(point: Point | None) -> str:
    return "" if point is None else figures.share(point.balanced_accuracy)


def differences(gaps: Sequence[Gap]) -> list[str]:
    """A table of comparisons."""
    return table(
        ["lesions", "arm", "less", "points", "p", "after Holm", "chance of training", "seeds"],
        [
            [
                str(gap.size),
                gap.arm,
                gap.against,
                figures.share(gap.difference, signed=True),
                p_text(gap.p),
                "" if gap.holm_p is None else p_text(gap.holm_p),
                "not told" if gap.training_share is None else f"{gap.training_share:.0%}",
                str(len(gap.seeds)),
            ]
            for gap in gaps
        ],
    )


def by_class(found: Curve) -> list[str]:
    """A table: arms and sizes by classes."""
    keys = list(found.points[0].sensitivity) if found.points else []
    return table(
        ["arm", "lesions", *keys],
        [
            [
                one.arm,
                str(one.size),
                *(
                    f"{figures.share(one.sensitivity[key])} / {figures.share(one.specificity[key])}"
                    for key in keys
                ),
            ]
            for one in found.points
        ],
    )


def _how(found: Curve) -> Iterator[str]:
    fresh = found.fresh
    yield (
        f"{found.told_seeds}. Each has phantom patients of its own to train on; its "
        "smaller sets are parts of its larger ones, whole patients with all their lesions, classes "
        "as equal as patients allow (below)."
    )
    yield (
        f"Tested on {fresh.test_lesions} lesions of fresh phantom patients (seed {fresh.seed}, "
        f"difficulty {fresh.difficulty:g}), drawn once, the same for every arm, size and seed."
    )
    yield (
        "Sizes of arms and models are chosen on validation patients of the training lesions alone; "
        "numbers of classic and synthetic ROIs are the same at every number of lesions, and so are "
        "training steps, so that curves differ by the lesions and nothing else."
    )
    yield found.inference
    lowered = dict.fromkeys(
        f"At {one.size} lesions, seed {one.seed}: {sentence}."
        for one in found.cohorts
        for sentence in one.lowered
    )
    yield from lowered
