"""Simulated portal-phase liver CT with known truth.

No public CT set with all of cysts, metastases and hemangiomas was within reach (the 182 lesions of
Frid-Adar et al. 2018 are private), so the method is developed and tested on phantoms. A phantom is
no evidence about a patient; everything made from one says so.

The order of reading: ``tissues`` (attenuation and where it is published) → ``grid`` (where a pixel
lies) → ``vessels``, ``parenchyma`` and ``anatomy`` (the healthy patient) → ``lesions`` (the three
classes and their overlap) → ``scanner`` (point spread, quantum noise) → ``patient`` (the truth and
the slices) → ``dicomfile`` → ``series`` (patients drawn, cohorts, folders).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ml.ground.errors import HepaticaError


class Version(StrEnum):
    """Which phantom: there is another one whenever the same seed gives other pixels on one kind of
    processor.

    NumPy computes with the widest vector instructions there are, and they round some pixels
    differently: a data set made with AVX-512 and one made with AVX2 alone have different digests.
    """

    FIRST = "1"
    """The one that was there first."""
    SECOND = "2"
    """Mended where real liver was told from the first (`python -m ml paste`): mottle, veins, a
    spread of kernels and noise, fat with septa, lesions without corners."""


VERSION = Version.SECOND
"""What is made where no version is asked for."""
SHIPPED = Version.SECOND
"""What the shipped checkpoints learned from, so that demo content and the sample are of it."""


class PhantomError(HepaticaError):
    """A phantom that cannot be made as asked; the message says what to change."""


@dataclass(frozen=True)
class Made:
    """What an image says of how it was made: SoftwareVersions of its DICOM file.

    Attributes:
        version: as it is written there, known to this program or not; "" where it says nothing.
        difficulty: None where it says nothing, as the files before 2026-11-29.
    """

    version: str = ""
    difficulty: float | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """The values of SoftwareVersions."""
        return f"{_VERSION} {self.version}", f"{_DIFFICULTY} {self.difficulty!r}"

    @classmethod
    def read(cls, words: str) -> Made:
        """The inverse of ``words``, joined by backslashes; what is none of them is not read."""
        told = dict(word.split(" ", 1) for word in words.split("\\") if " " in word)
        try:
            difficulty = float(told[_DIFFICULTY])
        except (KeyError, ValueError):
            difficulty = float("nan")
        return cls(told.get(_VERSION, ""), difficulty if 0 <= difficulty <= 1 else None)


_VERSION, _DIFFICULTY = "phantom", "difficulty"
