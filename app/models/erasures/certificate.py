"""What is told of a deletion when it is over, or would go in one: for a page, and for paper."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from app.models.erasures.extent import Extent


@dataclass(frozen=True)
class Row:
    """One kind of thing that goes."""

    what: str
    number: int
    of: str = ""


@dataclass(frozen=True)
class Stays:
    """One kind of thing that stays, and why."""

    what: str
    why: str


@dataclass(frozen=True)
class Certificate:
    """What goes, in numbers; what stays, and why."""

    gone: tuple[Row, ...]
    stays: tuple[Stays, ...]

    @classmethod
    def of(cls, extent: Extent) -> Certificate:
        """Of what a deletion takes."""
        return cls(tuple(_gone(extent)), tuple(_stays(extent)))

    @property
    def lines(self) -> Iterator[str]:
        """As plain text, a line each."""
        for row in self.gone:
            yield f"  {row.number:>9,}  {row.what}{f': {row.of}' if row.of else ''}"
        yield "What stays, and why:"
        for one in self.stays:
            yield f"  {one.what}: {one.why}"


def _gone(extent: Extent) -> Iterator[Row]:
    plain = (
        ("cases", extent.cases),
        ("series", extent.series),
        ("images", extent.images),
        ("lesions", extent.lesions),
        ("classes given by people", extent.reviews),
        ("measures kept with lesions", extent.measures),
        ("scores of networks", extent.predictions),
        ("DICOM objects that marked lesions, as they were kept", extent.markings),
        ("ways back to a PACS", extent.ways_back),
        ("results that had not reached a PACS", extent.unsent),
    )
    for what, number in plain:
        if number:
            yield Row(what, number)
    if extent.pixel_bytes:
        yield Row("bytes of pixels, as they were stored", extent.pixel_bytes)
    for version in extent.versions:
        yield Row(
            "ROIs of a frozen data set",
            version.rois,
            f"{version.name}, whose digest is {version.digest}",
        )
    for checkpoint in extent.checkpoints:
        yield Row(
            "lesions kept by a checkpoint to compare with", checkpoint.lesions, checkpoint.name
        )
    if extent.runs:
        yield Row("reports of runs, their pictures", len(extent.runs), ", ".join(extent.runs))
    for study in extent.studies:
        yield Row("pictures of a reader study", study.pictures, study.title)


def _stays(extent: Extent) -> Iterator[Stays]:
    if extent.versions:
        yield Stays(
            "Digests and counts of data sets, and the figures of runs on them",
            "they say what was trained and measured; the data sets, the runs and their reports say "
            "that ROIs were deleted since",
        )
        yield Stays(
            "Weights of networks that were trained on them, and what their answers are made with",
            "sums over all lesions, of which one cannot be taken back; train anew on a new version "
            "where that is wanted",
        )
    if extent.studies:
        yield Stays(
            "Answers, truth, numbers and the frozen protocol of reader studies",
            "the record of the study; the protocol names each picture by its SHA-256 and the "
            "patient by a code that holds within that study alone",
        )
    if extent.other_cases:
        number = extent.other_cases
        yield Stays(
            f"{number} other {'case' if number == 1 else 'cases'} of the same patients",
            "not meant by this deletion; “all that there is of this patient” takes every one",
        )
    if extent.shared:
        yield Stays(
            f"Stored pixels of {extent.shared:,} image{'' if extent.shared == 1 else 's'}",
            "another case has the very same, and they go with it",
        )
    if extent.cases:
        yield Stays(
            "The audit trail",
            "it says who did what when, names cases by random ids, and holds no data of a patient",
        )
        yield Stays(
            "What was downloaded, exported or sent",
            "files on other machines are out of reach; the audit trail says who took what",
        )
    if extent.returned:
        number = extent.returned
        yield Stays(
            f"{number} result{'' if number == 1 else 's'} in the PACS",
            "nothing is deleted there from here",
        )
    yield Stays(
        "Backups made before",
        "they are not opened; “python -m app restore” deletes again by the register of deletions "
        "what they bring back, and until then they are to be deleted by their own dates",
    )
    yield Stays(
        "Pictures in caches of browsers",
        "they are shown again only if this server allows it, which it does no longer; they go when "
        "the person signs out, over HTTPS, or empties the cache",
    )
    yield Stays(
        "Memory of processes that run, logs of PostgreSQL (WAL) and free blocks of its table blob",
        "they are used again in time; restart, and VACUUM FULL blob, where that must not wait. "
        "SQLite writes zeros over what is deleted",
    )
