"""Images and labels as NumPy arrays, in the manner of MedMNIST: one npz, or npy files in a folder.

``train_images``, ``train_labels``, ``val_…``, ``test_…`` or plain ``images``, ``labels``; whose
they are in ``…_patients``, where it is known.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ml.dataset.entries import Entry, Mark, Options
from ml.dataset.labels import Whose, nobody
from ml.dataset.table import CellError, PrepareError, is_pipe
from ml.ground.errors import reason
from ml.images.ct_slice import CTSlice
from ml.images.picture import PICTURE

_MOST_BYTES = 2**32
_PARTS = ("train", "val", "test", "")
_CHANNELS = (1, 3)

Array = npt.NDArray[Any]


def found(folder: Path) -> Path | None:
    """The npz, or the folder of npy files, that a path stands for; None if it is something else."""
    if folder.suffix.lower() == ".npz" and folder.is_file():
        return folder
    if not folder.is_dir():
        return None
    if any(path.stem.endswith("images") for path in folder.glob("*.npy")):
        return folder
    packed = sorted(folder.glob("*.npz"))
    return packed[0] if len(packed) == 1 else None


def entries(path: Path, options: Options) -> tuple[list[Entry], list[str]]:
    """An entry for every image, and what was found.

    Raises:
        PrepareError: no such arrays, images that are no pictures, labels that are not one per
            image, or nothing that tells whose the images are.
    """
    arrays = _read(path)
    made: list[Entry] = []
    notes: list[str] = []
    used: set[str] = set()
    for part in _PARTS:
        name = f"{part}_images" if part else "images"
        if name not in arrays:
            continue
        images = _pictures(arrays[name], name)
        labels = _labels(arrays, name.replace("images", "labels"), len(images))
        patients = _patients(arrays, name.replace("images", "patients"), len(images))
        used |= {name.replace("images", kind) for kind in ("images", "labels", "patients")}
        if patients is None and options.patients is None:
            missing = name.replace("images", "patients")
            raise nobody(f"{path.name} has no {missing}", Whose.IMAGE, pattern=False)
        groups = {"split": part} if part else {}
        for i, label in enumerate(labels):
            file = f"{name}/{i}"
            whose = "" if patients is None else patients[i]
            made.append(Entry(file, label, whose, partial(_marks, images, i, file), "", groups))
        notes.append(f"{len(images)} images of {images.shape[2]} × {images.shape[1]} in {name}.")
    if not made:
        raise PrepareError(
            f"{path} holds {', '.join(arrays) or 'nothing'}; there must be images and labels, or "
            "train_images and train_labels, with one image per label."
        )
    if options.patients is not None and any(entry.patient for entry in made):
        notes.append(options.overruled("the arrays"))
    rest = [name for name in arrays if name not in used]
    if rest:
        notes.append(f"Not used: {', '.join(rest)}.")
    return made, notes


def _read(path: Path) -> dict[str, Array]:
    files = sorted(path.glob("*.npy")) if path.is_dir() else [path]
    for file in files:
        if is_pipe(file):
            raise PrepareError(f"{file} is a pipe or a device; give a file.")
    try:
        if sum(_unpacked(file) for file in files) > _MOST_BYTES:
            raise PrepareError(f"{path} unpacks to over 4 GiB; give fewer images.")
        if path.is_dir():
            return {file.stem: np.load(file, allow_pickle=False) for file in files}
        with np.load(path, allow_pickle=False) as packed:
            arrays = {name: packed[name] for name in packed.files}
    except PrepareError:
        raise
    except OSError as error:
        raise PrepareError(f"{path} cannot be read: {reason(error)}.") from error
    except NotImplementedError as error:
        raise PrepareError(f"{path} is packed in a way that is not read ({error}).") from error
    except (ValueError, zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError) as error:
        # zipfile tells an encrypted member as a RuntimeError
        raise PrepareError(f"{path} is no file of plain NumPy arrays ({error}).") from error
    strange = [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]
    if strange:
        raise PrepareError(f"{path} is no file of plain NumPy arrays ({strange[0]} is none).")
    return arrays


def _unpacked(file: Path) -> int:
    if file.suffix.lower() != ".npz":
        return file.stat().st_size
    with zipfile.ZipFile(file) as packed:
        return sum(member.file_size for member in packed.infolist())


def _pictures(images: Array, name: str) -> Array:
    """(n, rows, columns) or (n, rows, columns, 3) of uint8 or uint16."""
    flat = images[..., 0] if images.ndim == 4 and images.shape[-1] == 1 else images
    if flat.dtype not in (np.uint8, np.uint16):
        raise PrepareError(
            f"{name} is of type {flat.dtype}; grey values are uint8 or uint16. Hounsfield units "
            "come as DICOM or NIfTI."
        )
    if flat.ndim == 3 or (flat.ndim == 4 and flat.shape[-1] == 3 and flat.dtype == np.uint8):
        return flat
    raise PrepareError(
        f"{name} has the shape {images.shape}; pictures are (n, rows, columns), or (n, rows, "
        "columns, 3) in uint8. Of volumes give one slice each."
    )


def _labels(arrays: dict[str, Array], name: str, count: int) -> list[str]:
    if name not in arrays:
        raise PrepareError(f"There are images, but no {name}.")
    labels = arrays[name]
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2 and np.isin(labels, (0, 1)).all():
        if (labels.sum(axis=1) != 1).any():
            raise PrepareError(
                f"{name}: {int((labels.sum(axis=1) != 1).sum())} of {len(labels)} images have no "
                "class or several; an ROI has one."
            )
        labels = labels.argmax(axis=1)
    if labels.ndim != 1 or len(labels) != count or labels.dtype.kind not in "iuUS":
        raise PrepareError(
            f"{name} has the shape {labels.shape} and type {labels.dtype}; one number or word for "
            f"each of {count} images is needed."
        )
    return _words(labels, name)


def _patients(arrays: dict[str, Array], name: str, count: int) -> list[str] | None:
    if name not in arrays:
        return None
    patients = arrays[name].reshape(-1)
    if len(patients) != count or patients.dtype.kind not in "iuUS":
        raise PrepareError(f"{name} must name a patient for each of {count} images.")
    return _words(patients, name)


def _words(values: Array, name: str) -> list[str]:
    if values.dtype.kind == "S":
        try:
            return [value.decode("utf-8") for value in values.tolist()]
        except UnicodeDecodeError as error:
            raise PrepareError(
                f"{name} has bytes that are no UTF-8 ({error.object!r}), so words in it cannot be "
                "told apart; give it as text."
            ) from error
    return [str(value) for value in values.tolist()]


def _marks(images: Array, place: int, file: str) -> Sequence[Mark]:
    picture = images[place]
    if picture.size == 0:
        raise CellError("an image without pixels.")
    if picture.ndim == 3:
        picture = np.asarray(Image.fromarray(picture).convert("L"))
    told = CTSlice(np.ascontiguousarray(picture), calibrated=False, warnings=(PICTURE,))
    return [Mark(told, file, None)]
