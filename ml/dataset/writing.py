"""Making a data set: findings are cut, looked at together, and written whole or not at all."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.config import Augment
from ml.dataset import contact_sheet as contactsheet
from ml.dataset import copies, reach, simulated, summary
from ml.dataset.about import About
from ml.dataset.manifest import (
    Finding,
    Line,
    Manifest,
    ManifestError,
    Source,
    range_of,
    sha256_of,
)
from ml.ground.counted import counted
from ml.ground.plain_text import is_text
from ml.images import roi
from ml.images.ct_slice import ImageKind
from ml.images.greys import Chosen, GreyRangeError, Greys, OfImage, Range
from ml.images.roi import Float32, RoiError
from ml.lesion import ROI_SIZE_PX, LesionScheme
from ml.phantom import Version
from ml.progress import OutputError, Progress, RunDir, whole

_SHOWN = 20
SHEET, SUMMARY = "contact-sheet.png", "summary.md"


def write(
    findings: Iterable[Finding],
    total: int,
    scheme: LesionScheme,
    out: Path,
    faults: Sequence[str] = (),
    mixed_patients: bool = False,
    difficulty: float | None = None,
    grey_range: Chosen | None = None,
    notes: Sequence[str] = (),
    sheet: bool = False,
    about: About | None = None,
    phantom: Version | None = None,
) -> Iterator[Progress]:
    """Make a data set of findings under ``out``, whole or not at all.

    Args:
        total: how many findings there will be, for the progress.
        out: a folder that does not exist yet, or is empty; its name becomes the data set's.
        faults: problems known already, or added while ``findings`` is consumed.
        mixed_patients: accept lesions of several classes in one patient.
        difficulty: of phantoms whose images do not tell it, where it is known.
        grey_range: grey values that become −1 and 1, of images without HU.
        notes: sentences that are kept with the data set.
        about: what its owner says of it.
        phantom: which phantom those are of whose images do not tell it.
        sheet: also write ``contact-sheet.png`` and ``summary.md``, for people to see what was cut.

    Raises:
        ManifestError: anything in ``faults``, findings of several kinds, an ROI that cannot be
            made, copies of an image under two patients, patients that may be one, grey values
            that nothing is to be seen in, what ``Manifest.problems`` tells: all in one message.
        OutputError: ``out`` is taken or cannot be written.
    """
    name = out.resolve().name
    if not is_text(name):
        raise OutputError(f"The folder's name {name!r} is no UTF-8; choose another one.")
    with whole(out) as partial:
        (partial / "contexts").mkdir()
        seen = _Seen(scheme, Greys(grey_range), sheet)
        lines: list[Line] = []
        kinds: Counter[ImageKind] = Counter()
        made_by: Counter[str] = Counter()
        refused: list[str] = []
        done = 0
        for done, finding in enumerate(findings, 1):
            try:
                line, crop, values = _line(finding, f"{done:04d}", grey_range)
                seen.add(finding, line, values)
            except (RoiError, GreyRangeError) as error:
                refused.append(f"{finding.file}: {error}")
            else:
                np.save(partial / "contexts" / f"{line.id}.npy", crop)
                lines.append(line)
                kinds[finding.kind] += 1
                made_by[finding.made_by] += finding.kind == ImageKind.PHANTOM
            if done % 20 == 0:
                yield Progress(done, max(total, done), f"{done} of {total} ROIs cut")
        kind = kinds.most_common(1)[0][0] if kinds else ImageKind.CALIBRATED
        of = simulated.of(+made_by, phantom, difficulty)
        told = (*notes, *of.notes, *seen.notes(), *summary.coincidences(lines))
        far = reach.of(lines, Augment()) if sheet else None
        if far is not None and far.words:
            told = (*told, far.words)
        manifest = Manifest(
            name,
            scheme,
            kind,
            tuple(lines),
            partial,
            mixed_patients,
            of.difficulty,
            grey_range,
            told,
            about,
            of.version,
        )
        problems = [*faults, *refused, *of.problems]
        if len(kinds) > 1:
            found = ", ".join(f"{number} {name}" for name, number in sorted(kinds.items()))
            problems.append(
                f"Phantom, calibrated and uncalibrated images never share a data set; here are "
                f"{found}. Prepare them one by one."
            )
        if grey_range is not None and kinds and set(kinds) != {ImageKind.UNCALIBRATED}:
            problems.append(
                "--range is of grey values, and these images have Hounsfield units, which take "
                "the window of the training; leave --range out."
            )
        # an ROI that failed may be of a class that seems empty
        problems += manifest.contradictions() if problems else manifest.problems()
        problems += seen.problems()
        if problems:
            raise ManifestError(_listed(problems))
        manifest.save(partial)
        if sheet:
            RunDir(partial).write_bytes(SHEET, seen.sheet())
            page = summary.render(manifest, seen.pixels(), told)
            RunDir(partial).write_bytes(SUMMARY, page.encode())
    for words in told:
        yield Progress(done, done, words, said=True)
    counts = ", ".join(f"{number} {key}" for key, number in manifest.counts().items())
    yield Progress(
        done,
        done,
        f"{len(lines)} {kind} ROIs of {len(manifest.patients)} patients in {out}: {counts}; "
        f"digest {manifest.digest[:12]}",
    )


class _Seen:
    """What is only seen while the images pass: their grey values, their looks, their patients."""

    def __init__(self, scheme: LesionScheme, greys: Greys, keep: bool) -> None:
        self.scheme = scheme
        self.greys = greys
        self.keep = keep
        self.rois: dict[str, list[Float32]] = defaultdict(list)
        self.details: dict[tuple[str, str], Float32] = {}
        self.lines: list[Line] = []
        self.window: Range = roi.DEFAULT_WINDOW_HU

    def add(self, finding: Finding, line: Line, values: Float32) -> None:
        """Take note of a finding and of its ROI in the image's own unit (64, 64)."""
        dtype = finding.pixels.dtype
        window = line.greys or range_of(finding.pixels, roi.DEFAULT_WINDOW_HU, self.greys.chosen)
        shown = roi.normalise(values, window)
        self.window = window
        if np.ptp(shown) == 0 and dtype.kind == "u":
            raise GreyRangeError(
                f"the ROI has nothing within the grey values {window[0]:g} to {window[1]:g} that "
                "become black and white; give another --range."
            )
        whose = (line.image_sha256, line.patient)
        first = whose not in self.details
        if first:
            self.details[whose] = copies.detail(finding.pixels)
        if dtype.kind == "u":
            self.greys.add(finding.pixels if first else None, values, dtype)
        if self.keep:
            self.rois[line.lesion_class].append(shown)
        self.lines.append(line)

    def problems(self) -> list[str]:
        return [*self._copies(), *_doubtful(line.patient for line in self.lines),
                *self.greys.problems()]  # fmt: skip

    def notes(self) -> list[str]:
        share = self.greys.clipped()
        if share < 0.01:
            return []
        low, high = self.window
        return [
            f"{share:.0%} of the ROIs' pixels lie outside the grey values {low:g} to {high:g} and "
            "are plain black or white."
        ]

    def pixels(self) -> summary.Pixels:
        shown = np.stack([one for of in self.rois.values() for one in of])
        black, white = float(np.mean(shown <= -1)), float(np.mean(shown >= 1))
        alike = [(self._file(i), self._file(j)) for i, j in self._alike if self._same(i, j)]
        return summary.Pixels(*self.window, black, white, alike)

    def sheet(self) -> bytes:
        return contactsheet.render({key: self.rois[key] for key in self.scheme.keys})

    @cached_property
    def _alike(self) -> list[tuple[int, int]]:
        """Places, in ``details``, of images that look like copies."""
        return copies.pairs(list(self.details.values()), [str(i) for i in range(len(self.details))])

    @cached_property
    def _owners(self) -> list[tuple[str, str]]:
        return list(self.details)

    def _file(self, place: int) -> str:
        image, patient = self._owners[place]
        return next(
            line.file
            for line in self.lines
            if line.image_sha256 == image and line.patient == patient
        )

    def _same(self, one: int, other: int) -> bool:
        return self._owners[one][1] == self._owners[other][1]

    def _copies(self) -> list[str]:
        return [
            f"Patients {self._owners[i][1]}, {self._owners[j][1]} have images that look like "
            f"copies ({self._file(i)}, {self._file(j)}: saved again, resized, mirrored or turned); "
            "keep one of them, or give both to one patient."
            for i, j in self._alike
            # equal images are told by the manifest
            if not self._same(i, j) and self._owners[i][0] != self._owners[j][0]
        ]


def _doubtful(patients: Iterable[str]) -> list[str]:
    """Patients that people write alike and a computer does not: P01, p1; 1, 1.0."""
    spelled = defaultdict(set)
    for patient in patients:
        spelled[_as_spoken(patient)].add(patient)
    return [
        f"Patients {', '.join(map(repr, sorted(names)))} may be one; write them alike, or give "
        "them names that differ in more."
        for names in spelled.values()
        if len(names) > 1
    ]


def _as_spoken(patient: str) -> tuple[str, ...]:
    plain = unicodedata.normalize("NFKC", patient)
    text = re.sub(r"^(\d+)[.,]0+$", r"\1", plain.strip().casefold())
    return tuple(part.lstrip("0") or "0" if part.isdecimal() else part
                 for part in re.findall(r"\d+|[^\W\d_]+", text)) or (text,)  # fmt: skip


def _listed(problems: Sequence[str]) -> str:
    """All problems in one message; rows with the same one share a line."""
    rows = defaultdict(list)
    for problem in problems:
        row, colon, text = problem.partition(": ")
        number = row.removeprefix("Row ")
        same = colon and row != number and number.isdecimal()
        rows[text if same else problem].append(number if same else "")
    problems = [
        text
        if not numbers[0]
        else f"Row {numbers[0]}: {text}"
        if len(numbers) == 1
        else f"Rows {', '.join(numbers[:5])}{' …' if len(numbers) > 5 else ''} "
        f"({len(numbers)} in all): {text}"
        for text, numbers in rows.items()
    ]
    shown = "".join(f"\n  - {text}" for text in problems[:_SHOWN])
    more = f"\n  … and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    return f"The data set was not made; {counted(len(problems), 'problem')}:{shown}{more}"


def _line(
    finding: Finding, line_id: str, grey_range: Chosen | None
) -> tuple[Line, npt.NDArray[Any], Float32]:
    """A finding as a line, its context and its ROI in the image's own unit.

    Raises:
        RoiError: it gives no ROI.
        GreyRangeError: it has no grey values of its own, and is to have them.
    """
    pixels, box, spacing = finding.pixels, finding.box, finding.spacing_mm
    surroundings = box is not None
    if finding.source == Source.SYNTHETIC:
        pixels = roi.checked(pixels)
    if box is None:
        if not finding.whole and pixels.shape != (ROI_SIZE_PX, ROI_SIZE_PX):
            columns, rows = pixels.shape[::-1]
            raise RoiError(
                f"an image of {columns} × {rows} pixels needs a box; only a 64 × 64 image is an "
                "ROI by itself, unless all of them are (--whole)."
            )
        box = roi.whole(*pixels.shape)
    square_in = spacing if surroundings else None
    fill = roi.beyond(pixels) if surroundings else None
    crop, origin = roi.context(pixels, box, square_in, fill)
    values = roi.cut(crop, box.moved(-origin[0], -origin[1]), square_in, fill)
    if np.ptp(values) == 0:
        raise RoiError("the ROI is one constant value; give the image itself.")
    diameter = finding.diameter_mm
    if diameter is None and surroundings and spacing is not None:
        diameter = round(max(box.width * spacing[1], box.height * spacing[0]), 3)
    line = Line(
        id=line_id,
        file=finding.file,
        lesion_class=finding.lesion_class,
        patient=finding.patient,
        source=finding.source,
        box=box,
        spacing_mm=spacing,
        diameter_mm=diameter,
        seed=finding.seed,
        sha256=sha256_of(crop),
        origin=origin,
        image_sha256=sha256_of(pixels),
        surroundings=surroundings,
        phantom_uid=finding.phantom_uid,
        image_size=(int(pixels.shape[0]), int(pixels.shape[1])),
        room=None if fill is not None else round(roi.room(box, pixels.shape, square_in), 4),
        groups=dict(finding.groups),
        greys=range_of(pixels, roi.DEFAULT_WINDOW_HU, grey_range)
        if isinstance(grey_range, OfImage) and pixels.dtype.kind == "u"
        else None,
    )
    return line, crop, values
