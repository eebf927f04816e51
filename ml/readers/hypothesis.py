"""What a study sets out to show, and how it is judged: chosen before anyone reads."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ml.statistics.proportion import ReadersError


class Claim(StrEnum):
    """What is claimed of the area under the ROC curve (AUC) of real against synthetic.

    Where something else than ratings is asked it is claimed of that study's `Measure`.
    """

    EQUIVALENT = "equivalent to chance"
    DIFFERENT = "different from chance"
    GENERATORS = "generators differ"


class Measure(StrEnum):
    """What is meant by an AUC in a claim: it is 0.5 by chance and lies in 0–1."""

    AUC = "AUC"
    SHARE = "share of pairs named right"
    """Of a reader who names the synthetic one of two images it is the AUC."""
    SECOND_PART = "second-part AUC"
    """Of an unaware study, whose first part has no ratings."""
    GRADE = "AUC of the first question's grades"
    """The chance that a real image gets a higher grade than a synthetic one."""
    PREFERENCE = "share of pairs in which it was preferred"
    """Of one generator against the others; no real image is shown."""

    @property
    def of_whom(self) -> str:
        """Before the name of the readers."""
        given = self in (Measure.SHARE, Measure.GRADE)
        return f"mean {self} by" if given else f"mean {self} of"


class Whose(StrEnum):
    """Of whom it is claimed: of readers at large, or of those who read, and of nobody else."""

    LIKE_THESE = "readers like these"
    THESE = "these readers"


class Multiplicity(StrEnum):
    """What is done about many secondary hypotheses."""

    HOLM = "Holm"
    NONE = "none"

    @property
    def words(self) -> str:
        """A sentence, as pages and the methods paragraph have it."""
        if self is Multiplicity.HOLM:
            return "p values of the secondary hypotheses are adjusted together after Holm (1979)"
        return "secondary hypotheses are not adjusted for their number and are exploratory"


class Missing(StrEnum):
    """What becomes of answers that are missing."""

    ALL = "all readers"
    COMPLETE = "complete readers"
    WORST = "worst case"

    @property
    def words(self) -> str:
        """A sentence, as pages and the methods paragraph have it."""
        return _MISSING[self]


_MISSING = {
    Missing.ALL: "every reader counts with the images that they answered",
    Missing.COMPLETE: "only readers who answered every image count",
    Missing.WORST: (
        "what readers who began left out is taken as certainly right, then as certainly wrong, "
        "and the hypothesis holds only where it holds both times"
    ),
}
_BETWEEN = " | "


@dataclass(frozen=True)
class Hypothesis:
    """The one hypothesis that a study is judged by.

    Attributes:
        generator: only its synthetic images are meant; "" for all.
    """

    claim: Claim = Claim.EQUIVALENT
    whose: Whose = Whose.LIKE_THESE
    generator: str = ""

    @property
    def key(self) -> str:
        """A text that ``of`` reads back."""
        return _BETWEEN.join((self.claim, self.whose, self.generator)).rstrip(" |")

    @classmethod
    def of(cls, key: str) -> Hypothesis:
        """The hypothesis of a ``key``.

        Raises:
            ReadersError: there is none.
        """
        claim, whose, generator = ([one.strip() for one in key.split("|", 2)] + ["", ""])[:3]
        known = claim in set(Claim) and whose in set(Whose)
        if not known or (claim == Claim.GENERATORS and generator):
            raise ReadersError(f"There is no hypothesis {key[:80]!r}.")
        return cls(Claim(claim), Whose(whose), generator)

    def sentence(self, margin: float | None = None, measure: Measure = Measure.AUC) -> str:
        """The hypothesis in words, without a full stop; the margin by name where none is given."""
        of = "" if self.whose is Whose.LIKE_THESE else ", and of no others,"
        if measure is Measure.PREFERENCE:
            return self._of_preference(of, margin)
        if self.claim is Claim.GENERATORS:
            if measure is Measure.AUC:
                return f"the mean AUCs of {self.whose}{of} differ between the generators"
            return f"the {measure.of_whom} {self.whose}{of} differs between the generators"
        images = f" on the images of {self.generator}" if self.generator else ""
        mean = f"the {measure.of_whom} {self.whose}{of}{images}"
        if self.claim is Claim.DIFFERENT:
            return f"{mean} differs from 0.5 (its 95 % interval leaves 0.5 out)"
        within = "the margin" if margin is None else f"{margin:.2f}"
        return f"{mean} is equivalent to chance (its 90 % interval lies within 0.5 ± {within})"

    def _of_preference(self, of: str, margin: float | None) -> str:
        """Of a generator against the others: the first by name where none is named."""
        name = self.generator or "the first generator by name"
        mean = (
            f"the mean share of pairs in which {self.whose}{of} prefer the image of {name} to that "
            "of another"
        )
        if self.claim is Claim.DIFFERENT:
            return f"{mean} differs from 0.5 (its 95 % interval leaves 0.5 out)"
        if self.claim is Claim.GENERATORS:
            raise ReadersError("A preference names a generator, not that generators differ.")
        within = "the margin" if margin is None else f"{margin:.2f}"
        return f"{mean} is equivalent to 0.5 (its 90 % interval lies within 0.5 ± {within})"

    def statement(self, margin: float | None = None, measure: Measure = Measure.AUC) -> str:
        """The same as a sentence of its own."""
        words = self.sentence(margin, measure)
        return f"{words[0].upper()}{words[1:]}."


def choices(
    generators: tuple[str, ...] = (), measure: Measure = Measure.AUC
) -> tuple[Hypothesis, ...]:
    """Every hypothesis that a study with these generators can be judged by."""
    if measure is Measure.PREFERENCE:  # one of two says the same as the other
        others = sorted(generators)[1:] if len(generators) > 2 else ()
        return tuple(
            Hypothesis(claim, whose, generator)
            for generator in ("", *others)
            for whose in Whose
            for claim in (Claim.DIFFERENT, Claim.EQUIVALENT)
        )
    found = [
        Hypothesis(claim, whose, generator)
        for generator in ("", *(generators if len(generators) > 1 else ()))
        for whose in Whose
        for claim in (Claim.EQUIVALENT, Claim.DIFFERENT)
    ]
    if len(generators) > 1:
        found += [Hypothesis(Claim.GENERATORS, whose) for whose in Whose]
    return tuple(found)
