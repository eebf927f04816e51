"""Presentation State (GSPS): each lesion's box and class over the original image, for a PACS that
draws no report."""

from __future__ import annotations

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
from app.objects.said import Account, By, Statement, one_line

SERIES_DESCRIPTION = "Research use only: boxes of lesions"
_SERIES_NUMBER = 9002
_LINE_PX = 12.0
"""Height of a line of text, in pixels of the image."""


def made(account: Account, key: bytes) -> Dataset:
    """The presentation state of an account.

    Args:
        key: of the installation.
    """
    names = Names(account, "pr", key)
    images = frames.of(account)
    layer = GraphicLayer("HEPATICA", order=1, description=frames.CAUTION[:64], display_color=None)
    state = GrayscaleSoftcopyPresentationState(
        referenced_images=list(images.values()),
        series_instance_uid=names.series_uid,
        series_number=_SERIES_NUMBER,
        sop_instance_uid=names.instance_uid(),
        instance_number=1,
        **frames.MADE_BY,
        device_serial_number="none",
        content_label="LESIONS",
        content_description=SERIES_DESCRIPTION,
        concept_name=None,
        graphic_annotations=[
            _annotation(said, images[said.image.id], layer, account.by)
            for said in account.statements
        ],
        graphic_layers=[layer],
    )
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
