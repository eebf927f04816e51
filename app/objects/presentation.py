"""Presentation State (GSPS): each lesion's box and class over the original image, for a PACS that
draws no report."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence

import numpy as np
from highdicom.pr import (
    AnnotationUnitsValues,
    GraphicAnnotation,
    GraphicLayer,
    GraphicObject,
    GraphicTypeValues,
    GrayscaleSoftcopyPresentationState,
    TextObject,
)
from pydicom.dataset import Dataset

from app.objects import frames
from app.objects.naming import Names
from app.objects.rebuilt import decimal
from app.objects.said import Account, By, Statement, one_line
from ml.images.frame import RESCALE
from ml.images.roi import DEFAULT_WINDOW_HU

SERIES_DESCRIPTION = "Research use only: boxes of lesions"
_SERIES_NUMBER = 9002
_LINE_PX = 12.0
"""Height of a line of text, in pixels of the image."""


def made(account: Account, key: bytes, only: int | None = None) -> list[Dataset]:
    """The presentation states of an account, in a series of their own.

    A state has one mapping of stored values and one displayed area for all images that it names
    (PS3.3 A.33.1), so that images of several sizes or mappings have one each.

    Args:
        key: of the installation.
        only: the number of one of them, from 1; None: all.
    """
    headers = frames.of(account)
    return [
        _state(account, statements, headers, number, key)
        for number, statements in enumerate(_groups(account), 1)
        if only in (None, number)
    ]


def count(account: Account) -> int:
    """How many states there are of an account."""
    return len(_groups(account))


def _groups(account: Account) -> list[list[Statement]]:
    """Its statements, those together whose images one state can show."""
    groups: dict[object, list[Statement]] = {}
    for said in account.statements:
        image = said.image
        stored = tuple(image.tags.get(word, "") for word in (*RESCALE, "RescaleType"))
        alike = (image.rows, image.columns, image.spacing_mm, image.calibrated, stored)
        groups.setdefault(alike, []).append(said)
    return list(groups.values())


def _state(
    account: Account,
    statements: Sequence[Statement],
    headers: Mapping[uuid.UUID, Dataset],
    number: int,
    key: bytes,
) -> Dataset:
    names = Names(account, "pr", key)
    images = {said.image.id: headers[said.image.id] for said in statements}
    for image in images.values():
        shown = "WindowCenter" in image or "VOILUTSequence" in image
        if "RescaleSlope" in image and not shown:
            low, high = DEFAULT_WINDOW_HU  # without one a viewer shows every value there is
            image.WindowCenter, image.WindowWidth = (low + high) / 2, high - low
    layer = GraphicLayer("HEPATICA", order=1, description=frames.CAUTION[:64], display_color=None)
    state = GrayscaleSoftcopyPresentationState(
        referenced_images=list(images.values()),
        series_instance_uid=names.series_uid,
        series_number=_SERIES_NUMBER,
        sop_instance_uid=names.instance_uid(number),
        instance_number=number,
        **frames.MADE_BY,
        device_serial_number="none",
        content_label="LESIONS",
        content_description=SERIES_DESCRIPTION,
        concept_name=None,
        graphic_annotations=[
            _annotation(said, images[said.image.id], layer, account.by) for said in statements
        ],
        graphic_layers=[layer],
    )
    spacing = statements[0].image.spacing_mm
    for area in state.DisplayedAreaSelectionSequence if spacing else ():
        del area.PresentationPixelAspectRatio
        area.PresentationPixelSpacing = [decimal(value) for value in spacing or ()]
    return frames.finished(state, account, SERIES_DESCRIPTION)


def words(said: Statement, by: By) -> str:
    """One line beside a lesion's box."""
    if by == By.NETWORK:
        best = said.scores[0]
        word = "probability" if said.calibrated else "score"
        name = one_line(best.display)
        return f"{said.lesion.number}: {name}, network {word} {100 * best.value:.0f} %"
    name = one_line(said.display)
    return f"{said.lesion.number}: {name}, radiologist, confidence {said.confidence} of 5"


def _annotation(said: Statement, image: Dataset, layer: GraphicLayer, by: By) -> GraphicAnnotation:
    box = said.box
    # above the box, or below one that touches the upper edge
    top = box.y - _LINE_PX if box.y >= _LINE_PX else min(box.y + box.height, image.Rows - _LINE_PX)
    right = min(image.Columns, box.x + 200.0)
    return GraphicAnnotation(
        referenced_images=[image],
        graphic_layer=layer,
        graphic_objects=[
            GraphicObject(
                graphic_type=GraphicTypeValues.POLYLINE,
                graphic_data=np.clip(
                    np.array(frames.corners(box)), 0.0, [image.Columns, image.Rows]
                ),
                units=AnnotationUnitsValues.PIXEL,
                is_filled=False,
            )
        ],
        text_objects=[
            TextObject(
                text_value=words(said, by),
                units=AnnotationUnitsValues.PIXEL,
                bounding_box=(max(0.0, box.x), max(0.0, top), right, max(0.0, top) + _LINE_PX),
            )
        ],
    )
