"""How many lesions a generator of all classes needs at least."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ml.config import ConfigError, GeneratorKind

LEAST_LESIONS, LEAST_OF_A_CLASS = 12, 4
"""Of fewer a network that learns all classes at once has nothing to learn but these by heart."""
NAMES: Mapping[GeneratorKind, str] = {
    GeneratorKind.CGAN: "conditional GAN",
    GeneratorKind.DIFFUSION: "diffusion model",
}


def refuse_few(kind: GeneratorKind, keys: Sequence[str], classes: Sequence[str]) -> None:
    """Nothing where lesions are enough for one generator of all classes.

    Args:
        keys: of the scheme.
        classes: of the training lesions, a key each.

    Raises:
        ConfigError: they are too few.
    """
    counts = Counter(classes)
    least = min(keys, key=lambda key: counts[key])
    if len(classes) < LEAST_LESIONS or counts[least] < LEAST_OF_A_CLASS:
        raise ConfigError(
            f"A {NAMES[kind]} is not trained on {len(classes)} lesions, {counts[least]} of them of "
            f"class {least!r}: it would learn them by heart. Give at least {LEAST_LESIONS}, and "
            f"{LEAST_OF_A_CLASS} of each class, on the training side."
        )
