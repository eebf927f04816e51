"""DICOM objects that mark lesions, as other software writes them: by highdicom, and by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from highdicom.pr import (
    GraphicAnnotation,
    GraphicLayer,
    GraphicObject,
    GrayscaleSoftcopyPresentationState,
    TextObject,
)
from highdicom.seg import Segmentation, SegmentDescription
from highdicom.sr import (
    CodedConcept,
    ComprehensiveSR,
    ImageRegion,
    Measurement,
    MeasurementReport,
    ObservationContext,
    ObserverContext,
    PersonObserverIdentifyingAttributes,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    SourceImageForRegion,
    TrackingIdentifier,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from app.objects import part10
from stow import parsed

_BY = {
    "manufacturer": "ACME",
    "manufacturer_model_name": "Marker",
    "software_versions": "1",
    "device_serial_number": "7",
}
RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"


def _images(files: Sequence[bytes]) -> list[Dataset]:
    found = [parsed(one) for one in files]
    for one in found:
        for keyword in ("FrameOfReferenceUID", "StudyDate", "StudyTime", "PatientSex", "StudyID"):
            if keyword not in one:
                value = generate_uid(entropy_srcs=["frame"]) if keyword.endswith("UID") else None
                setattr(one, keyword, value)
        if "PatientBirthDate" not in one:
            one.PatientBirthDate = None
        one.ReferringPhysicianName = None
    return found


def segmentation(
    files: Sequence[bytes],
    mask: np.ndarray,
    label: str = "Lesion 1",
    *,
    category: Any = codes.SCT.MorphologicallyAbnormalStructure,
    instance: str = "seg",
    **changed: Any,
) -> bytes:
    """A SEG of one segment on CT slices; ``mask`` is (slices, rows, columns)."""
    images = _images(files)
    made = Segmentation(
        source_images=images,
        pixel_array=mask.astype(bool),
        segmentation_type="BINARY",
        segment_descriptions=[
            SegmentDescription(
                segment_number=1,
                segment_label=label,
                segmented_property_category=category,
                segmented_property_type=codes.SCT.Lesion,
                algorithm_type="MANUAL",
            )
        ],
        series_instance_uid=generate_uid(entropy_srcs=[instance, "series"]),
        series_number=7,
        sop_instance_uid=generate_uid(entropy_srcs=[instance]),
        instance_number=1,
        **_BY,
    )
    return _written(made, changed)


def report(
    file: bytes,
    kind: str,
    points: Sequence[tuple[float, float]],
    finding: str = "Metastasis",
    *,
    numbers: bool = False,
    instance: str = "sr",
    **changed: Any,
) -> bytes:
    """A TID 1500 report with one group: a figure on one CT slice."""
    return report_on([file], kind, points, finding, numbers=numbers, instance=instance, **changed)


def report_on(
    files: Sequence[bytes],
    kind: str,
    points: Sequence[tuple[float, float]],
    finding: str = "Metastasis",
    *,
    numbers: bool = False,
    instance: str = "sr",
    **changed: Any,
) -> bytes:
    """A TID 1500 report with the same figure on each of some CT slices of a study."""
    images = _images(files)
    groups = [
        PlanarROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=TrackingIdentifier(
                uid=generate_uid(
                    entropy_srcs=["tracking", str(number)] if number else ["tracking"]
                ),
                identifier=f"Target {number + 1}",
            ),
            referenced_region=ImageRegion(
                graphic_type=kind,
                graphic_data=np.array(points, float),
                source_image=SourceImageForRegion.from_source_image(image),
            ),
            finding_type=CodedConcept("94381002", "SCT", finding),
            measurements=[Measurement(name=codes.SCT.Length, value=9.0, unit=codes.UCUM.Millimeter)]
            if numbers
            else None,
        )
        for number, image in enumerate(images)
    ]
    content = MeasurementReport(
        observation_context=ObservationContext(
            observer_person_context=ObserverContext(
                observer_type=codes.DCM.Person,
                observer_identifying_attributes=PersonObserverIdentifyingAttributes(name="A^B"),
            )
        ),
        procedure_reported=codes.SCT.ComputedTomography,
        imaging_measurements=groups,
    )
    made = ComprehensiveSR(
        evidence=images,
        content=content[0],
        series_instance_uid=generate_uid(entropy_srcs=[instance, "series"]),
        series_number=8,
        sop_instance_uid=generate_uid(entropy_srcs=[instance]),
        instance_number=1,
        manufacturer="ACME",
    )
    return _written(made, changed)


def presentation(
    file: bytes, kind: str, points: Sequence[tuple[float, float]], text: str = "here"
) -> bytes:
    """A presentation state that draws one figure, and words, on one CT slice."""
    (image,) = _images([file])
    layer = GraphicLayer("ONE", order=1)
    made = GrayscaleSoftcopyPresentationState(
        referenced_images=[image],
        series_instance_uid=generate_uid(entropy_srcs=["pr", "series"]),
        series_number=9,
        sop_instance_uid=generate_uid(entropy_srcs=["pr"]),
        instance_number=1,
        **_BY,
        content_label="MARK",
        concept_name=None,
        graphic_layers=[layer],
        graphic_annotations=[
            GraphicAnnotation(
                referenced_images=[image],
                graphic_layer=layer,
                graphic_objects=[GraphicObject(kind, np.array(points, float), units="PIXEL")],
                text_objects=[TextObject(text, units="PIXEL", anchor_point=(1.0, 1.0))],
            )
        ],
    )
    return _written(made, {})


def structures(
    files: Sequence[bytes],
    contours: Sequence[tuple[int, Sequence[tuple[float, float, float]]]],
    name: str = "Met",
    kind: str = "GTV",
    **changed: Any,
) -> bytes:
    """An RTSTRUCT of one ROI; each contour names its file by index, its points in mm."""
    images = [parsed(one) for one in files]
    made = Dataset()
    made.SOPClassUID = RTSTRUCT
    made.SOPInstanceUID = generate_uid(entropy_srcs=["rtstruct", name])
    made.Modality = "RTSTRUCT"
    made.StudyInstanceUID = images[0].StudyInstanceUID
    made.SeriesInstanceUID = generate_uid(entropy_srcs=["rtstruct", "series"])
    made.PatientID = images[0].PatientID
    made.PatientName = images[0].PatientName
    made.StructureSetLabel = "SET"
    roi = Dataset()
    roi.ROINumber, roi.ROIName = 1, name
    made.StructureSetROISequence = [roi]
    observed = Dataset()
    observed.ReferencedROINumber, observed.RTROIInterpretedType = 1, kind
    made.RTROIObservationsSequence = [observed]
    held = Dataset()
    held.ReferencedROINumber = 1
    held.ContourSequence = [_contour(images[index], points) for index, points in contours]
    made.ROIContourSequence = [held]
    return _written(made, changed)


def _contour(image: Dataset, points: Sequence[tuple[float, float, float]]) -> Dataset:
    item, named = Dataset(), Dataset()
    named.ReferencedSOPClassUID = image.SOPClassUID
    named.ReferencedSOPInstanceUID = image.SOPInstanceUID
    item.ContourImageSequence = [named]
    item.ContourGeometricType = "CLOSED_PLANAR"
    item.NumberOfContourPoints = len(points)
    item.ContourData = [float(value) for point in points for value in point]
    return item


def _written(made: Dataset, changed: dict[str, Any]) -> bytes:
    for keyword, value in changed.items():
        setattr(made, keyword, value)
    return part10.written(made)


__all__ = ["presentation", "report", "segmentation", "structures"]
