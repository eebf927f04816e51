"""A phantom patient as one zip of DICOM, to try an application with."""

from __future__ import annotations

import io
import zipfile

from ml.phantom import SHIPPED
from ml.phantom.dicomfile import encode
from ml.phantom.series import patient

SEED = 20261128
"""Of no training and no demo content: whoever tries a network with it shows it something new."""

COMMENT = b"Phantom: simulated CT of nobody, made by Hepatica to try it with."


def zipped(index: int) -> bytes:
    """The series of phantom patient ``index`` (from 0), one lesion, as a zip; 2 to 5 MB.

    It holds DICOM and nothing else, so that it can be given to any reader of DICOM as it is. Each
    file says that its data are synthetic; so do the names and the comment of the zip. The same
    index gives the same bytes.

    Raises:
        PhantomError: a negative index.
    """
    made = patient(SEED, index=index, lesions=1, version=SHIPPED)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.comment = COMMENT
        for number in range(len(made.heights_mm)):
            image = made.slice(number)
            name = f"{made.patient_id}/IM{image.number:04d}.dcm"
            # a ZipInfo of its own has no date of today
            archive.writestr(zipfile.ZipInfo(name), encode(made, image), zipfile.ZIP_DEFLATED)
    return packed.getvalue()
