"""Which phantom the images of a data set are of: as they say themselves, else as is known of them.

Two phantoms never share a data set: what is told of both would be of neither, and fresh lesions
could be of one of them alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from ml.phantom import Made, Version

ASSUMED = (
    "Which phantom the images are of was not kept when they were taken in; they are taken for "
    f"phantom {Version.FIRST}."
)


@dataclass(frozen=True)
class Simulated:
    """What is told of a data set's phantoms; nothing of other images.

    Attributes:
        version: None of other images.
        difficulty: None where it is not known, or not one.
        notes: sentences for whoever uses the data set; ``problems``: why there can be none.
    """

    version: Version | None = None
    difficulty: float | None = None
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def of(made_by: Mapping[str, int], version: Version | None, difficulty: float | None) -> Simulated:
    """What images tell, and what else is known.

    Args:
        made_by: what files of phantoms say, and of how many images; "" where they say nothing.
        version, difficulty: what is known of those that say nothing.
    """
    if not made_by:
        return Simulated()
    versions: Counter[str] = Counter()
    difficulties: set[float | None] = set()
    for words, images in made_by.items():
        made = Made.read(words)
        told = made.version or version or ""
        versions[told] += images
        same = told in ("", version)
        difficulties.add(difficulty if made.difficulty is None and same else made.difficulty)
    unknown = [one for one in versions if one and one not in set(Version)]
    if unknown:
        return Simulated(
            problems=(
                f"{versions[unknown[0]]} images are of phantom {unknown[0][:40]}, and this program "
                f"has {', '.join(Version)}. Use the program that made them.",
            )
        )
    if len(versions) > 1:
        found = ", ".join(
            f"{images} of phantom {one}" if one else f"{images} of one that is not told"
            for one, images in sorted(versions.items(), reverse=True)
        )
        return Simulated(
            problems=(
                f"Images of two phantoms never share a data set; here are {found}. Take them one "
                "by one.",
            )
        )
    [one] = versions
    notes: tuple[str, ...] = () if one else (ASSUMED,)
    if len(difficulties) > 1:
        several = ", ".join(
            "unknown" if each is None else f"{each:g}"
            for each in sorted(difficulties, key=lambda each: -1 if each is None else each)
        )
        notes += (f"Its phantoms are of several difficulties ({several}).",)
        difficulties = {None}
    return Simulated(Version(one or Version.FIRST), difficulties.pop(), notes)
