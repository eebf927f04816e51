"""Comprehensive SR (TID 1500): a measurement group for each lesion (TID 1410).

What a viewer prints beside a lesion stands in readable words; the class is coded as well. A
network's group is for display only; a radiologist's can be taken over by OHIF as a rectangle that
may be edited. After PS3.16 and the tools that read it: OHIF takes the label from the numbers, needs
both tracking identifiers, an image library, and a box as a closed line of five points.

The document is highdicom's; what it holds is written by `app.objects.content`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from highdicom.sr import CodedConcept, ComprehensiveSR, ContainerContentItem, ContentSequence
from pydicom.charset import convert_encodings
from pydicom.dataset import Dataset

from app.models.cases.case import Image
from app.objects import frames, library, rebuilt
from app.objects.content import (
    CONTENT,
    Relation,
    below,
    coded,
    container,
    image,
    number,
    person,
    polyline,
    text,
    uid,
)
from app.objects.naming import Names
from app.objects.said import OWN_SCHEME, Account, By, Statement, meaning_of, one_line
from ml.lesion import Code

HYDRATABLE = "Cornerstone3DTools@^0.1.0:RectangleROI"
"""Tracking Identifier of what OHIF may turn into a rectangle that can be edited."""
SERIES_DESCRIPTION = "Research use only: lesion classes"
_SERIES_NUMBER = 9001
_MEANING = 64
"""Most characters of a code's meaning (PS3.5 6.2, LO)."""
_REPORT = ("126000", "DCM", "Imaging Measurement Report")
_PERCENT = Code("%", "UCUM", "percent")
_NO_UNITS = Code("1", "UCUM", "no units")
_LIVER = Code("10200004", "SCT", "Liver")
_CT = Code("77477000", "SCT", "Computed tomography")
_IMAGING = Code("363679005", "SCT", "Imaging (procedure)")
"""Of pictures nobody can tell what made them."""
_DEVICE = Code("121007", "DCM", "Device")
_PERSON = Code("121006", "DCM", "Person")
_ENGLISH = Code("en-US", "RFC5646", "English (United States)")
_NAMES: Mapping[str, Code] = {
    meaning: Code(value, scheme, meaning)
    for value, scheme, meaning in (
        ("121049", "DCM", "Language of Content Item and Descendants"),
        ("121005", "DCM", "Observer Type"),
        ("121012", "DCM", "Device Observer UID"),
        ("121013", "DCM", "Device Observer Name"),
        ("121014", "DCM", "Device Observer Manufacturer"),
        ("121015", "DCM", "Device Observer Model Name"),
        ("121008", "DCM", "Person Observer Name"),
        ("121058", "DCM", "Procedure reported"),
        ("126010", "DCM", "Imaging Measurements"),
        ("125007", "DCM", "Measurement Group"),
        ("112039", "DCM", "Tracking Identifier"),
        ("112040", "DCM", "Tracking Unique Identifier"),
        ("121071", "DCM", "Finding"),
        ("363698007", "SCT", "Finding Site"),
        ("111001", "DCM", "Algorithm Name"),
        ("111003", "DCM", "Algorithm Version"),
        ("111002", "DCM", "Algorithm Parameters"),
        ("111030", "DCM", "Image Region"),
    )
}
_GROUP_TEMPLATE = "1410"


def made(account: Account, key: bytes) -> Dataset:
    """The report of an account.

    Args:
        key: of the installation.
    """
    names = Names(account, "sr", key)
    images = {said.image.id: said.image for said in account.statements}
    document = _document(names, list(images.values()))
    document[CONTENT] = below(_content(account, names, list(images.values())))
    found = frames.finished(document, account, SERIES_DESCRIPTION)
    # what was written already is not read and written again when it leaves
    found.set_original_encoding(False, True, convert_encodings(found.SpecificCharacterSet))
    return found


def _document(names: Names, images: list[Image]) -> Dataset:
    """A report that says nothing yet, about these images."""
    title = CodedConcept(*_REPORT)
    empty = ContainerContentItem(name=title, template_id="1500")
    empty.ContentSequence = ContentSequence()
    found = Dataset()
    found.update(
        ComprehensiveSR(
            # the first names patient and study, the others themselves
            evidence=[rebuilt.header(images[0]), *(rebuilt.named(one) for one in images[1:])],
            content=empty,
            series_instance_uid=names.series_uid,
            series_number=_SERIES_NUMBER,
            sop_instance_uid=names.instance_uid(),
            instance_number=1,
            **frames.MADE_BY,
            is_complete=True,
            is_final=False,
            is_verified=False,
        )
    )
    return found


def _content(account: Account, names: Names, images: list[Image]) -> Iterator[bytes]:
    """TID 1500."""
    is_ct = all(said.image.calibrated for said in account.statements)
    modifier = Relation.CONCEPT_MODIFIER
    yield coded(modifier, _NAMES["Language of Content Item and Descendants"], _ENGLISH)
    yield from _observer(account, names)
    yield coded(modifier, _NAMES["Procedure reported"], _CT if is_ct else _IMAGING)
    yield library.of(images)
    groups = [
        container(
            Relation.CONTAINS,
            _NAMES["Measurement Group"],
            _group(said, account, names),
            _GROUP_TEMPLATE,
        )
        for said in account.statements
    ]
    yield container(Relation.CONTAINS, _NAMES["Imaging Measurements"], groups)


def _observer(account: Account, names: Names) -> Iterator[bytes]:
    """TID 1002."""
    context = Relation.OBSERVATION_CONTEXT
    if account.by == By.RADIOLOGIST:
        yield coded(context, _NAMES["Observer Type"], _PERSON)
        yield person(context, _NAMES["Person Observer Name"], frames.person(account.name))
        return
    yield coded(context, _NAMES["Observer Type"], _DEVICE)
    yield uid(context, _NAMES["Device Observer UID"], names.device_uid())
    yield text(context, _NAMES["Device Observer Name"], account.name[:64])
    yield text(context, _NAMES["Device Observer Manufacturer"], "Hepatica")
    model = f"{account.name} {account.version}"[:64]
    yield text(context, _NAMES["Device Observer Model Name"], model)


def _group(said: Statement, account: Account, names: Names) -> Iterator[bytes]:
    """What is said of one lesion (TID 1410)."""
    network = account.by == By.NETWORK
    context, modifier = Relation.OBSERVATION_CONTEXT, Relation.CONCEPT_MODIFIER
    identifier = f"Hepatica lesion {said.lesion.number}" if network else HYDRATABLE
    yield text(context, _NAMES["Tracking Identifier"], identifier)
    tracking = names.tracking_uid(said.lesion.id)
    yield uid(context, _NAMES["Tracking Unique Identifier"], tracking)
    yield coded(Relation.CONTAINS, _NAMES["Finding"], said.finding)
    if said.of_liver:
        yield coded(modifier, _NAMES["Finding Site"], _LIVER)
    if network:
        yield text(modifier, _NAMES["Algorithm Name"], account.name[:64])
        yield text(modifier, _NAMES["Algorithm Version"], account.version)
        for told in ("Research use only, not a medical device", *said.warnings):
            yield text(modifier, _NAMES["Algorithm Parameters"], told)
    yield from _numbers(said)
    yield from _evaluations(said)
    of = said.image
    kind = rebuilt.sop_class(of.calibrated)
    source = image(Relation.SELECTED_FROM, library.SOURCE, kind, str(of.uid))
    corners = frames.corners(said.box)
    yield polyline(Relation.CONTAINS, _NAMES["Image Region"], corners, source)


def _numbers(said: Statement) -> Iterator[bytes]:
    """What a viewer prints: probabilities in percent (scores, of a network that is not calibrated
    for such images), or how sure the radiologist was."""
    word = "Probability" if said.calibrated else "Score"
    for place, score in enumerate(said.scores, 1):
        name = Code(f"{word.lower()}_{place}", OWN_SCHEME, meaning_of(f"{word} of {score.display}"))
        percent = round(100 * score.value, 2)
        # OHIF prints a value of 0 without its number, as if there were none
        if percent > 0:
            yield number(Relation.CONTAINS, name, percent, _PERCENT)
    if said.confidence is not None:
        words = f"{said.display}, confidence 1 to 5"
        name = Code("confidence", OWN_SCHEME, meaning_of(words))
        yield number(Relation.CONTAINS, name, float(said.confidence), _NO_UNITS)


def _evaluations(said: Statement) -> Iterator[bytes]:
    if said.unlike:
        name = Code("likeness", OWN_SCHEME, "Likeness to the network's training ROIs")
        value = Code("unlike", OWN_SCHEME, "unlike: do not rely on the class")
        yield coded(Relation.CONTAINS, name, value)
    yield from _not_excluded(said)
    if said.assessment is not None:
        seen = "score not seen" if said.unseen else "score seen"
        name = Code("assessment", OWN_SCHEME, "Assessment of the network's class")
        words = f"{said.assessment} ({seen})"
        yield coded(Relation.CONTAINS, name, Code(f"{said.assessment}", OWN_SCHEME, words))
    if said.basis:
        name = Code("basis", OWN_SCHEME, "What the class rests on")
        value = Code(said.basis.replace(" ", "_")[:16], OWN_SCHEME, said.basis)
        yield coded(Relation.CONTAINS, name, value)


def _not_excluded(said: Statement) -> Iterator[bytes]:
    """In one line where all its words fit into a meaning, else a line for each class: a set of
    which a part is cut off would exclude what it does not."""
    if not said.left_open:
        return
    words = one_line(said.left_open)
    if len(words) <= _MEANING:
        name = Code("not_excluded", OWN_SCHEME, "Classes that cannot be excluded")
        value = Code("prediction_set", OWN_SCHEME, words)
        yield coded(Relation.CONTAINS, name, value)
        return
    level = "" if said.open_level is None else f" ({100 * said.open_level:g} %)"
    name = Code("not_excluded", OWN_SCHEME, f"Class that cannot be excluded{level}")
    for one in said.open_classes:
        yield coded(Relation.CONTAINS, name, one)
