"""Phantom slices as CT Image Storage (PS3.3 A.3), Explicit VR Little Endian, marked synthetic."""

from __future__ import annotations

import io

import numpy as np

from ml.phantom import Made
from ml.phantom.patient import PhantomPatient, PhantomSlice

INTERCEPT_HU = -1024
DESCRIPTION = "Phantom, simulated CT, not a patient"


def encode(patient: PhantomPatient, image: PhantomSlice) -> bytes:
    """A whole DICOM file; the same slice gives the same bytes.

    Stored values are HU + 1024 in 12 unsigned bits. (0008,001C) Synthetic Data is YES.
    """
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

    data = Dataset()
    data.SpecificCharacterSet = "ISO_IR 192"
    data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.SOPClassUID = CTImageStorage
    data.SOPInstanceUID = image.sop_uid
    data.add_new(0x0008001C, "CS", "YES")
    data.Modality = "CT"
    data.Manufacturer = "Hepatica"
    data.ManufacturerModelName = "Phantom"
    data.SoftwareVersions = [*Made(patient.version, patient.difficulty).words]
    data.StudyDescription = DESCRIPTION
    data.SeriesDescription = DESCRIPTION
    data.PatientName = f"Phantom^{patient.patient_id.removeprefix('PHANTOM-')}"
    data.PatientID = patient.patient_id
    for empty in (
        "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "PatientBirthDate",
        "PatientSex", "StudyID", "PositionReferenceIndicator",
    ):  # fmt: skip
        setattr(data, empty, "")
    data.BodyPartExamined = "LIVER"
    data.ContrastBolusAgent = "simulated iodine, portal venous phase"
    data.KVP = f"{patient.scanner.kvp:g}"
    data.ConvolutionKernel = patient.scanner.kernel
    data.SliceThickness = f"{image.slice_thickness_mm:g}"
    data.SpacingBetweenSlices = f"{patient.interval_mm:g}"
    data.PatientPosition = "HFS"
    data.StudyInstanceUID = patient.study_uid
    data.SeriesInstanceUID = patient.series_uid
    data.FrameOfReferenceUID = patient.frame_of_reference_uid
    data.SeriesNumber = 1
    data.AcquisitionNumber = 1
    data.InstanceNumber = image.number
    data.ImagePositionPatient = [f"{value:.4f}" for value in image.position_mm]
    data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    data.PixelSpacing = [f"{value:.6f}" for value in image.spacing_mm]
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.Rows, data.Columns = image.hu.shape
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    data.PixelRepresentation = 0
    data.WindowCenter, data.WindowWidth = 50, 400
    data.RescaleIntercept, data.RescaleSlope = INTERCEPT_HU, 1
    data.RescaleType = "HU"
    stored = (image.hu.astype(np.int32) - INTERCEPT_HU).astype("<u2")
    data.PixelData = stored.tobytes()
    data["PixelData"].VR = "OW"

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = UID(image.sop_uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta = meta
    stream = io.BytesIO()
    data.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
