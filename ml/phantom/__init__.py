"""Simulated portal-phase liver CT with known truth.

No public CT set with all of cysts, metastases and hemangiomas was within reach (the 182 lesions of
Frid-Adar et al. 2018 are private), so the method is developed and tested on phantoms. A phantom is
no evidence about a patient; everything made from one says so.

The order of reading: ``tissues`` (attenuation and where it is published) → ``grid`` (where a pixel
lies) → ``vessels``, ``parenchyma`` and ``anatomy`` (the healthy patient) → ``lesions`` (the three
classes and their overlap) → ``scanner`` (point spread, quantum noise) → ``patient`` (the truth and
the slices) → ``dicomfile`` → ``series`` (patients drawn, cohorts, folders).
"""

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
