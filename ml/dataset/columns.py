"""The columns of ``labels.csv`` and ``lesions.csv``, for ``prepare`` and for its ``--help``."""

from enum import StrEnum


class Boxes(StrEnum):
    """What the four numbers of a box are: left, top, width, height; or left, top, right, bottom."""

    XYWH = "xywh"
    XYXY = "xyxy"


class Unit(StrEnum):
    """What the values of a volume mean, which its file does not tell."""

    HU = "hu"
    GREY = "grey"


GROUPS = ("split", "site", "source", "scanner", "age", "sex", "size", "phase", "folder")
"""Columns that are kept with every ROI, so that results can be told by group."""

SYNONYMS = {
    "file": ("filename", "image", "imagepath", "imagefile", "path", "filepath", "img", "imagename"),
    "class": ("label", "labels", "lesionclass", "diagnosis", "category", "target", "classname"),
    "patient": ("patientid", "subject", "subjectid", "pid"),
    "mask": ("maskfile", "maskpath", "segmentation", "maskname"),
    "site": ("hospital", "institution"),
    "sex": ("gender",),
    "scanner": ("manufacturer", "scannermodel"),
}
"""Header words (letters and digits alone) that are taken for a column that the table lacks."""

IMAGES = """\
columns of labels.csv (comma, semicolon, tab or bar; their order does not matter;
usual words such as filename, label, patient_id are understood):
  file         the image, relative to DIR: PNG, JPEG or DICOM
  class        a class of the scheme; see --map
  patient      whose it is, what separates training and test; see --patient
where the lesion is (not with --whole, nor for a 64 x 64 image, which is the
ROI itself):
  box          x,y,width,height in pixels in one cell; see --boxes
  x, y, width, height
               the same in four columns; x, y: the left and upper edge
  center       x,y in pixels in one cell, together with diameter_mm and a
               pixel spacing
  mask         a picture of the image's size, not black on the lesion
optional:
  diameter_mm  the lesion's longer side in mm
  frame        of a DICOM file with several frames, from 1
  split        train, val or test: experiments then keep to it
  site, source, scanner, age, sex, size, phase
               kept with every ROI
instead of a table, DIR may hold a folder for each class, a COCO file
(--table FILE.json), or arrays in the manner of MedMNIST; DIR may be an npz
"""
DICOM = """\
columns of lesions.csv (comma, semicolon or tab; their order does not matter):
  sop_instance_uid, file
               one or both: the slice, by its UID or by its place under DIR
  lesion_class a class of the scheme; see --map
  patient      whose it is, what separates training and test; see --patient
where the lesion is, one of:
  box          x,y,width,height in pixels in one cell; see --boxes
  x, y, width, height
               the same in four columns; x, y: the left and upper edge
  center       x,y in pixels in one cell, together with diameter_mm
  mask         a picture of the slice's size, not black on the lesion
optional:
  diameter_mm  the lesion's longer side in mm
  frame        of a file with several frames, from 1
  key_slice    only rows with 1 (or true, yes) are taken: one ROI per lesion
"""
USED = (
    "file", "class", "lesion_class", "patient", "box", "x", "y", "width", "height", "center",
    "mask", "diameter_mm", "frame", "sop_instance_uid", "key_slice",
)  # fmt: skip
NIFTI = """\
columns of labels.csv (comma, semicolon, tab or bar; their order does not matter):
  file         the volume, relative to DIR: .nii or .nii.gz
  mask         the mask of its lesions, of the same size and space
  class        the class of all lesions in the mask; see --map
  patient      whose it is, what separates training and test; see --patient
optional:
  value        the voxels' value that is meant, where the mask has several
  split        train, val or test: experiments then keep to it
  site, source, scanner, age, sex, size, phase
               kept with every ROI
each connected region becomes an ROI on the axial slice where it is largest
"""
OF_PHANTOMS = ("series_instance_uid", "lesion", "atypical")
"""What `phantom` writes besides."""
