"""What a page tells of the map of what moves a score: its colours, its scale and its check."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from app.models.cases.lesion import Lesion
from app.models.cases.prediction import Prediction
from app.models.checkpoint import Checkpoint
from ml.images.ct_slice import ImageKind
from ml.trust.explained import AGAINST_RGB, FOR_RGB, Explained
from ml.trust.randomised import Likeness, Step, told
from ml.trust.saliency import Method

_LAYERS = {
    "output": "output layer",
    "dense": "… and dense layer",
    "conv3": "… and third convolution",
    "conv2": "… and second convolution",
    "conv1": "… and first: all of them",
}
"""Layers that were made random, by the last of them."""


@dataclass(frozen=True)
class Colour:
    """A colour of the map as ``#rrggbb``, and what it means."""

    code: str
    words: str


@dataclass(frozen=True)
class StepTold:
    """How alike maps are after some layers were made random; figures in the order of `Likeness`."""

    layers: str
    figures: tuple[str, ...]


@dataclass(frozen=True)
class MapTold:
    """All that a page tells of a map.

    Attributes:
        roi_url, url: the ROI without and with the map; ``url`` is "" for an empty map.
        alt: the picture in words.
        word, p: of the score that the map is of: ``probability`` or ``score``, 0–1.
        here: the address of this map; ``classes`` and ``methods`` are (address, words) of those to
            choose from, this one among them.
        colours, scale: what is drawn; empty for an empty map.
        mark: how much of it lies within the mark, or that it is empty, in a sentence.
        verdict: of the comparison with random networks, ``passes`` with its outcome.
        steps: the same layer by layer.
        limits: what a map shows, and what none can say.
    """

    number: int
    checkpoint: str
    roi_url: str
    url: str
    alt: str
    display: str
    word: str
    p: float
    here: str
    classes: tuple[tuple[str, str], ...]
    methods: tuple[tuple[str, str], ...]
    colours: tuple[Colour, ...]
    scale: str
    mark: str
    passes: bool | None
    verdict: str
    steps: tuple[StepTold, ...]
    limits: str
    warnings: tuple[str, ...]


def map_told(lesion: Lesion, said: Prediction, of: str, found: Explained) -> MapTold:
    """What is told of the map of what moves the score of class ``of``.

    Raises:
        SchemeError: the network knows no such class.
    """
    network, answer, method = said.checkpoint, said.answer, found.method
    display = network.scheme.display(of)

    def address(lesion_class: str, way: Method, path: str = "saliency") -> str:
        asked = {"checkpoint": network.name, "of": lesion_class, "method": str(way)}
        return f"/lesions/{lesion.id}/{path}?{urlencode(asked)}"

    empty, check = found.is_empty, found.check
    mark = f"Nothing that was found speaks for {display}: the map is empty."
    if not empty:
        mark = _mark(found)
    return MapTold(
        number=lesion.number,
        checkpoint=network.name,
        roi_url=f"/lesions/{lesion.id}/roi.png?checkpoint={network.id}",
        url="" if empty else address(of, method, "saliency.png"),
        alt=f"ROI of lesion {lesion.number} under the map of {display} ({method.words}). {mark}",
        display=display,
        word=answer.word,
        p=answer.probabilities[of],
        here=address(of, method),
        classes=tuple((address(one.key, method), one.display) for one in network.scheme.classes),
        methods=tuple((address(of, way), way.words) for way in Method),
        colours=() if empty else _colours(found, display, network),
        scale="" if empty else _scale(found),
        mark=mark,
        passes=None if check is None else check.passes,
        verdict="" if check is None else check.sentence,
        steps=() if check is None else tuple(_step(one) for one in check.steps),
        limits=method.limits,
        warnings=tuple(said.warnings),
    )


def _mark(found: Explained) -> str:
    if found.mark is None:
        return "The image is the ROI itself, so there is no mark to compare it with."
    return (
        f"{100 * found.mark.strength:.0f} % of its strength lies within the mark, which covers "
        f"{100 * found.mark.area:.0f} % of the picture."
    )


def _colours(found: Explained, display: str, network: Checkpoint) -> tuple[Colour, ...]:
    if found.method == Method.CAM:
        return (_colour(FOR_RGB, f"features that were found there and speak for {display}"),)
    return (
        _colour(
            FOR_RGB,
            f"the grey there, against the mean of the training ROIs ({_mean(found, network)}), "
            f"speaks for {display}",
        ),
        _colour(AGAINST_RGB, f"it speaks against {display}"),
    )


def _colour(rgb: tuple[int, int, int], words: str) -> Colour:
    return Colour("#" + bytes(rgb).hex(), words)


def _mean(found: Explained, network: Checkpoint) -> str:
    part = (found.mean + 1) / 2
    if not found.roi.calibrated or network.training_kind == ImageKind.UNCALIBRATED:
        return f"{100 * part:.0f} % of the grey range"
    low, high = network.window_hu
    mean = f"{low + part * (high - low):.0f} HU".replace("-", "−")
    return f"{mean} in its window of {network.window_words}"


def _scale(found: Explained) -> str:
    own = "Each map has a scale of its own: a weak one looks as strong as any."
    if found.networks > 1:
        own += f" This map is of the mean answer of {found.networks} networks."
    if found.method == Method.CAM:
        return (
            f"Full colour: the strongest of 12 × 12 places, each 18 × 18 pixels wide. {own} What "
            "speaks against the class is not drawn."
        )
    return f"Full colour: {found.full:.2g} of log odds or more, as 1 % of the pixels have. {own}"


def _step(step: Step) -> StepTold:
    found = step.likeness
    return StepTold(
        _LAYERS[step.layers[-1]],
        ("no map",) * len(Likeness.__dataclass_fields__)
        if found is None
        else (told(found.rank), told(found.signed), told(found.structure)),
    )
