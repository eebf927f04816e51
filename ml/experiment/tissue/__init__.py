"""Phantom lesions in real liver: the hand-made lesions of the phantom, the tissue of a scanner.

A network that was trained on phantoms is asked about lesions whose truth is known, in tissue that
no simulation made; and phantom and real liver are told apart, by numbers and by a classifier. The
lesion is still a simulation: what comes out is no evidence about a patient, and says so.

The order of reading: ``slices`` (real slices and their liver) → ``grain`` (point spread and noise
of a liver) → ``pasting`` (where a lesion goes, and its pixels) → ``asked`` (what classifiers say of
them) → ``compared`` (phantom liver against real) → ``words`` → ``paste`` (the command).
"""

from ml.ground.errors import HepaticaError


class TissueError(HepaticaError):
    """Slices or masks in which nothing can be pasted; the message says what to change."""
