"""The reports of `app.objects.report`, made by highdicom's templates: the slow way round."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    ComprehensiveSR,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    GraphicTypeValues,
    ImageRegion,
    Measurement,
    MeasurementReport,
    ObservationContext,
    ObserverContext,
    PersonObserverIdentifyingAttributes,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    SourceImageForRegion,
    TrackingIdentifier,
)
from pydicom.dataset import Dataset

from app.objects import frames, rebuilt
from app.objects.naming import Names
from app.objects.report import HYDRATABLE, SERIES_DESCRIPTION
from app.objects.said import OWN_SCHEME, Account, By, Statement
from ml.lesion import Code

_SERIES_NUMBER = 9001
_PERCENT = CodedConcept("%", "UCUM", "percent")
_NO_UNITS = CodedConcept("1", "UCUM", "no units")
_LIVER = CodedConcept("10200004", "SCT", "Liver")
_CT = CodedConcept("77477000", "SCT", "Computed tomography")
_IMAGING = CodedConcept("363679005", "SCT", "Imaging (procedure)")
_DEVICE = CodedConcept("121007", "DCM", "Device")
_PERSON = CodedConcept("121006", "DCM", "Person")


def made(account: Account, key: bytes) -> Dataset:
    names = Names(account, "sr", key)
    images = {said.image.id: rebuilt.header(said.image) for said in account.statements}
    groups = [_group(one, images[one.image.id], account, names) for one in account.statements]
    content = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=_observer(account, names))
        if account.by == By.NETWORK
        else ObservationContext(observer_person_context=_observer(account, names)),
        procedure_reported=_CT
        if all(said.image.calibrated for said in account.statements)
        else _IMAGING,
        imaging_measurements=groups,
        referenced_images=list(images.values()),
    )
    report = ComprehensiveSR(
        evidence=list(images.values()),
        content=content[0],
        series_instance_uid=names.series_uid,
        series_number=_SERIES_NUMBER,
        sop_instance_uid=names.instance_uid(),
        instance_number=1,
        **frames.MADE_BY,
        is_complete=True,
        is_final=False,
        is_verified=False,
    )
    return frames.finished(report, account, SERIES_DESCRIPTION)


def _observer(account: Account, names: Names) -> ObserverContext:
    if account.by == By.NETWORK:
        return ObserverContext(
            observer_type=_DEVICE,
            observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
                uid=names.device_uid(),
                name=account.name[:64],
                manufacturer_name="Hepatica",
                model_name=f"{account.name} {account.version}"[:64],
            ),
        )
    return ObserverContext(
        observer_type=_PERSON,
        observer_identifying_attributes=PersonObserverIdentifyingAttributes(
            name=frames.person(account.name)
        ),
    )


def _group(
    said: Statement, image: Dataset, account: Account, names: Names
) -> PlanarROIMeasurementsAndQualitativeEvaluations:
    network = account.by == By.NETWORK
    region = ImageRegion(
        graphic_type=GraphicTypeValues.POLYLINE,
        graphic_data=np.array(frames.corners(said.box), np.float64),
        source_image=SourceImageForRegion.from_source_image(image),
    )
    identifier = f"Hepatica lesion {said.lesion.number}" if network else HYDRATABLE
    return PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=names.tracking_uid(said.lesion.id), identifier=identifier
        ),
        referenced_region=region,
        finding_type=_concept(said.finding),
        algorithm_id=AlgorithmIdentification(
            name=account.name[:64],
            version=account.version,
            parameters=["Research use only, not a medical device", *said.warnings],
        )
        if network
        else None,
        finding_sites=[FindingSite(anatomic_location=_LIVER)] if said.of_liver else None,
        measurements=_numbers(said),
        qualitative_evaluations=_evaluations(said) or None,
    )


def _numbers(said: Statement) -> list[Measurement]:
    """What a viewer prints: probabilities in percent (scores, of a network that is not calibrated
    for such images), or how sure the radiologist was."""
    word = "Probability" if said.calibrated else "Score"
    found = [
        Measurement(
            name=CodedConcept(
                f"{word.lower()}_{place}", OWN_SCHEME, f"{word} of {score.display}"[:64]
            ),
            value=round(100 * score.value, 2),
            unit=_PERCENT,
        )
        for place, score in enumerate(said.scores, 1)
        # OHIF prints a value of 0 without its number, as if there were none
        if round(100 * score.value, 2) > 0
    ]
    if said.confidence is not None:
        words = f"{said.display}, confidence 1 to 5"
        name = CodedConcept("confidence", OWN_SCHEME, words[:64])
        found.append(Measurement(name=name, value=float(said.confidence), unit=_NO_UNITS))
    return found


def _evaluations(said: Statement) -> Sequence[QualitativeEvaluation]:
    found = []
    if said.unlike:
        name = CodedConcept("likeness", OWN_SCHEME, "Likeness to the network's training ROIs")
        value = CodedConcept("unlike", OWN_SCHEME, "unlike: do not rely on the class")
        found.append(QualitativeEvaluation(name=name, value=value))
    if said.left_open:
        name = CodedConcept("not_excluded", OWN_SCHEME, "Classes that cannot be excluded")
        value = CodedConcept("prediction_set", OWN_SCHEME, said.left_open[:64])
        found.append(QualitativeEvaluation(name=name, value=value))
    if said.assessment is not None:
        seen = "score not seen" if said.unseen else "score seen"
        name = CodedConcept("assessment", OWN_SCHEME, "Assessment of the network's class")
        words = f"{said.assessment} ({seen})"
        value = CodedConcept(f"{said.assessment}", OWN_SCHEME, words)
        found.append(QualitativeEvaluation(name=name, value=value))
    if said.basis:
        name = CodedConcept("basis", OWN_SCHEME, "What the class rests on")
        value = CodedConcept(said.basis.replace(" ", "_")[:16], OWN_SCHEME, said.basis)
        found.append(QualitativeEvaluation(name=name, value=value))
    return found


def _concept(code: Code) -> CodedConcept:
    return CodedConcept(code.value, code.scheme, code.meaning)
