"""What is damaged: small files of every kind that a door meets."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pydicom.data

import marks
from factories import make_dicom, make_hu, make_png
from tests.ml.dicom_files import ct_file, enhanced_file, stored_values

_SYNTAXES = (
    None, "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.70",
)  # fmt: skip
_MOST_BYTES = 60_000
_OFTEN = 4
"""So much likelier is a file of our own, which a door takes whole, than one that it refuses."""


def all_of_them() -> list[tuple[str, bytes]]:
    """(name, bytes): our own, those of pydicom's tests, and the odd inputs where they are."""
    found = [(f"slice {syntax}", ct_file(syntax=syntax)) for syntax in _SYNTAXES]
    frames = stored_values()[None].repeat(3, 0)
    told = [{"intercept": -1024, "z": z} for z in (0, 5, 10)]
    found.append(("frames", enhanced_file(frames, told)))
    found.append(("plain", make_dicom(make_hu(1, side=48))))
    found.append(("bytes", make_dicom(np.zeros((16, 17), np.int16))))
    found += [("png", make_png()), ("jpeg", make_png(form="JPEG"))]
    found = (found + _marks()) * _OFTEN
    folders = [Path(pydicom.data.__file__).parent / "test_files"]
    if shared := os.environ.get("HEPATICA_TEST_DATA"):
        folders.append(Path(shared) / "odd_inputs")
    for folder in folders:
        for path in sorted(folder.iterdir()):
            fits = path.suffix == ".dcm" and path.stat().st_size <= _MOST_BYTES
            if fits:
                found.append((path.name, path.read_bytes()))
    return found


def slices() -> list[bytes]:
    """The images that the objects of `_marks` are about."""
    return [make_dicom(make_hu(n, side=32), number=n, z=5.0 * n) for n in (1, 2, 3)]


def _marks() -> list[tuple[str, bytes]]:
    images = slices()
    mask = np.zeros((3, 32, 32), bool)
    mask[0, 5:12, 6:14] = mask[1, 6:10, 6:12] = mask[2, 20:26, 20:25] = True
    square = [(4.0, 4.0), (12.0, 4.0), (12.0, 12.0), (4.0, 12.0), (4.0, 4.0)]
    contour = [(x, y, 5.0) for x, y in square[:4]]
    return [
        ("segmentation", marks.segmentation(images, mask)),
        ("report", marks.report(images[0], "POLYLINE", square)),
        ("circles", marks.report(images[1], "CIRCLE", [(9.0, 9.0), (9.0, 12.0)], numbers=True)),
        ("presentation", marks.presentation(images[0], "POLYLINE", square)),
        ("structures", marks.structures(images, [(0, contour)])),
    ]
