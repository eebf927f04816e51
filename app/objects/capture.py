"""Secondary Capture: a picture of each lesion with box and words, for a PACS that draws neither
reports nor presentation states."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from highdicom.sc import SCImage
from PIL import Image as Picture
from PIL import ImageDraw
from pydicom.dataset import Dataset
from sqlalchemy.orm import Session

from app.objects import frames, letters, presentation
from app.objects.naming import Names
from app.objects.said import Account, By, Statement, one_line
from ml.images import roi
from ml.images.ct_slice import CTSlice

SERIES_DESCRIPTION = "Research use only: pictures of lesions"
_SERIES_NUMBER = 9003
_LEAST_PX = 512
"""Shorter side of a picture at least; smaller images are enlarged by a whole number."""
_MOST_ENLARGED = 8
_MOST_PX = 1024
"""Longer side at most; of larger images the picture is made smaller, so that a case with many
lesions does not fill the memory."""
_LINE_PX = 18
_YELLOW, _BLACK = (255, 214, 10), (0, 0, 0)


def made(session: Session, account: Account, key: bytes, only: int | None = None) -> list[Dataset]:
    """A picture for each statement of an account, in a series of their own.

    Args:
        key: of the installation.
        only: the number of one of them, from 1; None: all.
    """
    names = Names(account, "sc", key)
    images = frames.of(account)
    wanted = [one for one in enumerate(account.statements, 1) if only in (None, one[0])]
    found = [
        frames.finished(
            SCImage.from_ref_dataset(
                ref_dataset=images[said.image.id],
                pixel_array=drawn(said.image.slice(session), said, account),
                photometric_interpretation="RGB",
                bits_allocated=8,
                coordinate_system="PATIENT",
                series_instance_uid=names.series_uid,
                series_number=_SERIES_NUMBER,
                sop_instance_uid=names.instance_uid(number),
                instance_number=number,
                **frames.MADE_BY,
                patient_orientation=("L", "P"),  # it wants one; the image's own follows
            ),
            account,
            SERIES_DESCRIPTION,
        )
        for number, said in wanted
    ]
    for one, (_, said) in zip(found, wanted, strict=True):
        edges = said.image.edges
        one.PatientOrientation = [edges.right, edges.bottom] if edges else None
        one.DateOfSecondaryCapture, one.TimeOfSecondaryCapture = one.ContentDate, one.ContentTime
        one.BurnedInAnnotation = "NO"  # words, but none that tell who it is
        one.DerivationDescription = frames.CAUTION
    return found


def drawn(image: CTSlice, said: Statement, account: Account) -> npt.NDArray[np.uint8]:
    """The slice with box and words: (rows, columns, 3), enlarged, with lines of text below.

    Its pixels are square, whatever those of the slice are.
    """
    window = roi.DEFAULT_WINDOW_HU if image.calibrated else image.grey_range
    grey = roi.to_grey(roi.normalise(image.pixels, window))
    row, column = image.spacing_mm or (1.0, 1.0)
    # in units of the shorter side of a pixel
    tall, wide = row / min(row, column), column / min(row, column)
    sides = grey.shape[0] * tall, grey.shape[1] * wide
    enlarged = min(_MOST_ENLARGED, max(1, -(-_LEAST_PX // min(sides))))
    times = min(enlarged, _MOST_PX / max(sides))
    across, down = times * wide, times * tall
    slice_picture = Picture.fromarray(grey).resize(
        (max(1, round(grey.shape[1] * across)), max(1, round(grey.shape[0] * down))),
        Picture.Resampling.BICUBIC,
    )
    room = slice_picture.width - 12
    lines = [part for line in _lines(said, account) for part in _parts(line, room)]
    sheet = Picture.new(
        "RGB", (slice_picture.width, slice_picture.height + _LINE_PX * len(lines) + 8), _BLACK
    )
    sheet.paste(slice_picture.convert("RGB"), (0, 0))
    pen = ImageDraw.Draw(sheet)
    corners = [(x * across, y * down) for x, y in frames.corners(said.box)]
    pen.line(corners, fill=_YELLOW, width=2)
    for place, text in enumerate(lines):
        at = (6, slice_picture.height + 4 + place * _LINE_PX)
        pen.text(at, text, fill=_YELLOW, font=letters.font())
    return np.asarray(sheet)


def _lines(said: Statement, account: Account) -> list[str]:
    told = [presentation.words(said, account.by)]
    if account.by == By.NETWORK:
        scores = ", ".join(f"{one.display} {100 * one.value:.1f} %" for one in said.scores)
        told.append(f"{'Probabilities' if said.calibrated else 'Scores'}: {scores}")
        if said.unlike:
            told.append("Unlike the network's training ROIs: do not rely on its class")
        if said.left_open:
            told.append(f"Cannot be excluded: {said.left_open}")
        told.append(f"Network {account.name}, {account.version}")
    elif said.assessment is not None:
        seen = "not seen" if said.unseen else "seen"
        told.append(f"The network's class was {said.assessment}; its score was {seen} before.")
    keys = {one.display: one.lesion_class for one in said.scores}
    keys[said.display] = said.lesion_class
    names = keys | {one_line(display): key for display, key in keys.items()}
    drawable = [letters.named(line, names) for line in told]
    less = [letters.NOT_WHOLE] if drawable != told else []
    return [*drawable, *less, frames.CAUTION]


def _parts(line: str, room: int) -> list[str]:
    """A line as lines that fit into ``room`` pixels: a set that is cut off excludes a class."""
    found: list[str] = []
    for word in line.split(" "):
        longer = f"{found[-1]} {word}" if found else word
        if found and letters.font().getlength(longer) <= room:
            found[-1] = longer
        else:
            found.append(word)
    return found
