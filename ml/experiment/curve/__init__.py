"""Learning curves on phantoms: what each arm is worth by the number of lesions it is trained on.

Every seed has training patients of its own, of whom smaller sets are part of larger ones. At every
number of lesions the arms of the experiment are trained as an experiment trains them, sizes chosen
on validation patients within; all of them are then asked about one pool of fresh phantom lesions.
A value is the mean over seeds, with an interval over fresh patients and over trainings: seeds
differ in training patients, weights and draws alike.
"""

from __future__ import annotations

from ml.ground.errors import HepaticaError


class CurveError(HepaticaError):
    """A curve that cannot be made, or one of another program."""
