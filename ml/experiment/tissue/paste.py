"""Paste phantom lesions into real slices, ask the classifiers, compare the tissues: one folder."""

from __future__ import annotations

import csv
import hashlib
import io
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from ml.checkpoints import serving
from ml.checkpoints.checkpoint import shipped
from ml.checkpoints.serving import Classifier
from ml.dataset import contact_sheet
from ml.experiment.tissue import TissueError, asked, compared, words
from ml.experiment.tissue.asked import Cut, Lesions
from ml.experiment.tissue.compared import Compared, Square
from ml.experiment.tissue.made import Made
from ml.experiment.tissue.pasting import Background, Pasted
from ml.experiment.tissue.record import Found
from ml.experiment.tissue.shelf import NO_PIXELS, Shelf
from ml.experiment.tissue.slices import Floats, Folder, LiverSlice
from ml.experiment.tissue.stock import COLUMNS, FOUND, TABLE
from ml.phantom import VERSION, Version, series
from ml.phantom.lesions import CLASSES
from ml.progress import Progress, RunDir, refuse_taken, whole

MOST = 20_000
TESTED_OF_EACH = 100
"""Fresh phantom lesions of each class, beside which the pasted ones stand."""
_MOST_PHANTOMS = 4
"""Phantom patients that are asked for a square of liver, for each that is wanted."""
_MISSES = 10
"""Of a slice: it takes no lesion and is asked no more."""
_PHANTOM = "phantom tissue"
_SEEN = "phantom tissue, at the pixels and greys of the slices"
_REAL = "real tissue"


@dataclass(frozen=True)
class Asking:
    """What is asked for.

    Attributes:
        folder: the slices and their masks.
        count: lesions, of all classes together; a patient has lesions of one class.
        difficulty, seed: of the lesions, as of the phantom.
        thickness_mm: of a slice.
        checkpoint: a classifier's folder; None: the shipped one.
        phantom: which phantom draws lesions and liver.
        command: told in what is written.
    """

    folder: Folder
    count: int
    seed: int
    thickness_mm: float
    command: str
    difficulty: float
    checkpoint: Path | None = None
    phantom: Version = VERSION

    def __post_init__(self) -> None:
        if not 30 <= self.count <= MOST:
            raise TissueError(
                f"{self.count} lesions: give 30 to {MOST}; under 30 no share has an interval that "
                "tells anything."
            )
        if not 0 <= self.difficulty <= 1:
            raise TissueError(f"Difficulty {self.difficulty:g} is outside 0…1.")
        if not 0.2 <= self.thickness_mm <= 20:
            raise TissueError(
                f"Slices of {self.thickness_mm:g} mm: give their thickness in mm, such as 3."
            )

    def network(self) -> Classifier:
        """The classifier that is asked.

        Raises:
            TissueError: a generator, or a network of other classes or of uncalibrated greys.
        """
        roots = shipped() if self.checkpoint is None else (self.checkpoint,)
        found = [one for one in map(serving.load, roots) if isinstance(one, Classifier)]
        if not found:
            raise TissueError(f"{self.checkpoint} holds no classifier.")
        network = found[0]
        if set(network.meta.scheme.keys) != set(CLASSES):
            raise TissueError(
                f"{network.meta.name} tells {', '.join(network.meta.scheme.keys)} apart; the "
                f"pasted lesions are {', '.join(CLASSES)}."
            )
        return network


def run(asking: Asking, out: Path) -> Iterator[Progress]:
    """Write ``images/``, ``labels.csv``, ``contact-sheet.png``, ``tissue.json`` and ``report.md``.

    The same folder, count and seed give the same pixels and figures.

    Raises:
        TissueError: a folder, a mask or a number of no use.
        CheckpointError: a checkpoint of no use.
        OutputError: ``out`` is taken or cannot be written; then nothing is left there.
    """
    names = asking.folder.names()
    for name in names:  # who is asked last is refused first
        asking.folder.whose(name)
    network = asking.network()
    refuse_taken(out)
    with (
        whole(out) as partial,
        tempfile.TemporaryDirectory(prefix=".slices-", dir=partial) as shelf,
    ):
        yield from _Pasting(asking, network, names, RunDir(partial), Shelf(Path(shelf))).run()


class _Pasting:
    """One call; counts its steps in lesions.

    What is in memory does not grow with slices: they lie on a shelf, and what was pasted is written
    at once; of a lesion its ROI stays.
    """

    def __init__(
        self, asking: Asking, network: Classifier, names: list[str], out: RunDir, shelf: Shelf
    ) -> None:
        self._asking, self._network, self._names, self._out = asking, network, names, out
        self._shelf = shelf
        # what a step costs, in pasted lesions
        self._reading = len(names)
        self._phantoms = sum(asked.TRAINED.values()) + TESTED_OF_EACH * len(CLASSES)
        people = len({asking.folder.whose(name) for name in names})
        self._total = self._reading + asking.count + self._phantoms + people
        self._left_out: Counter[str] = Counter()
        self._real: list[Square] = []

    def run(self) -> Iterator[Progress]:
        by_patient: dict[str, list[int]] = {}
        like: LiverSlice | None = None
        for done, (name, found) in enumerate(self._asking.folder.slices(), 1):
            background = found if isinstance(found, str) else Background.of(found)
            if isinstance(background, str):
                self._left_out[background] += 1
            else:
                like = like or background.one
                by_patient.setdefault(background.one.patient, []).append(
                    self._shelf.put(background)
                )
            yield Progress(done, self._total, f"liver of {name} ({done} of {len(self._names)})")
        if like is None or len(by_patient) < 2 * len(CLASSES):
            why = "; ".join(f"{number} slices: {told}" for told, number in self._left_out.items())
            raise TissueError(
                f"{len(by_patient)} patients have a liver of use, and at least "
                f"{2 * len(CLASSES)} are needed, some for each class." + (f" {why}." if why else "")
            )
        pasted: list[Pasted] = []
        real: list[Cut] = []
        digests: list[str] = []
        low, high = self._asking.folder.greys_hu
        for one in self._pasted(by_patient):
            real.append(self._cut(one))
            picture = _png(one.hu, low, high)
            self._out.write_bytes(_picture(len(real)), picture)
            digests.append(hashlib.sha256(picture).hexdigest())
            pasted.append(replace(one, hu=NO_PIXELS))
            done = self._reading + len(pasted)
            yield Progress(done, self._total, f"lesion {len(pasted)} of {self._asking.count}")
        done = self._reading + len(pasted)
        trained: list[tuple[Cut, Cut]] = []
        tested: list[tuple[Cut, Cut]] = []
        each = dict.fromkeys(CLASSES, TESTED_OF_EACH)
        for kept, counts, seed in (
            (trained, asked.TRAINED, asked.TRAINED_SEED),
            (tested, each, asked.TESTED_SEED),
        ):
            for both in self._phantoms_of(counts, seed, like):
                kept.append(both)
                done += 1
                yield Progress(done, self._total, "phantom lesions to stand beside")
        said = tuple(self._said(trained, tested, real))
        beside = yield from self._beside(by_patient, like, done)
        self._write(pasted, digests, real, said, beside)
        yield Progress(self._total, self._total, f"{len(pasted)} lesions pasted and asked about")

    def _pasted(self, by_patient: dict[str, list[int]]) -> Iterator[Pasted]:
        """Patient after patient, each of one class, until there are as many as asked for."""
        asking = self._asking
        root = np.random.SeedSequence(asking.seed)
        rng = np.random.default_rng(root.spawn(1)[0])
        order = [sorted(by_patient)[i] for i in rng.permutation(len(by_patient))]
        class_of = {name: CLASSES[i % len(CLASSES)] for i, name in enumerate(order)}
        room = {one: _MISSES for many in by_patient.values() for one in many}
        made = tried = 0
        while made < asking.count:
            before = made
            for name in order:
                free = [one for one in by_patient[name] if room[one] > 0]
                if not free or made == asking.count:
                    continue
                chosen = free[int(rng.integers(len(free)))]
                background = self._shelf[chosen]
                seed = np.random.SeedSequence(asking.seed, spawn_key=(1, tried))
                tried += 1
                one = background.paste(
                    class_of[name], seed, asking.difficulty, asking.thickness_mm, asking.phantom
                )
                if one is None:
                    room[chosen] -= 1
                    continue
                made += 1
                yield one
            if made == before and not any(room.values()):
                raise TissueError(
                    f"The livers have room for {made} lesions of 10 mm, not for {asking.count}; "
                    "give more slices."
                )

    def _cut(self, one: Pasted) -> Cut:
        spacing = self._asking.folder.spacing_mm
        window = self._network.meta.window_hu
        return asked.cut(one.hu, one.box, spacing, window, one.lesion_class, one.patient)

    def _phantoms_of(
        self, counts: Mapping[str, int], seed: int, like: LiverSlice
    ) -> Iterator[tuple[Cut, Cut]]:
        window, asking = self._network.meta.window_hu, self._asking
        return asked.of_phantoms(counts, seed, asking.difficulty, like, window, asking.phantom)

    def _said(
        self, trained: list[tuple[Cut, Cut]], tested: list[tuple[Cut, Cut]], real: list[Cut]
    ) -> Iterator[asked.Asked]:
        def both(of: list[tuple[Cut, Cut]]) -> list[Lesions]:
            plain, seen = zip(*of, strict=True)
            return [asked.gathered(_PHANTOM, plain), asked.gathered(_SEEN, seen)]

        meta = self._network.meta
        name = f"network {meta.name}"
        tissues = [*both(tested), asked.gathered(_REAL, real)]
        return asked.answers(self._network, name, both(trained), tissues)

    def _beside(
        self, by_patient: dict[str, list[int]], like: LiverSlice, done: int
    ) -> Generator[Progress, None, Compared | str]:
        rng = np.random.default_rng(np.random.SeedSequence(self._asking.seed, spawn_key=(2,)))
        try:
            real = [
                square
                for many in by_patient.values()
                for number in many[: compared.MOST_OF_A_PATIENT]
                if (square := compared.of_real(self._shelf[number].one, rng)) is not None
            ]
            wanted = len({one.patient for one in real})
            phantoms: list[Square] = []
            # fewer than half of the phantoms have room beside their lesions
            for index in range(_MOST_PHANTOMS * wanted):
                if len(phantoms) == wanted:
                    break
                own = series.patient(
                    asked.COMPARED_SEED,
                    self._asking.difficulty,
                    index,
                    version=self._asking.phantom,
                )
                square = compared.of_phantom(own, like)
                if square is not None:
                    phantoms.append(square)
                    yield Progress(done + len(phantoms), self._total, "phantom liver")
            return compared.compare(phantoms, real, like)
        except TissueError as error:
            return f"Phantom and real liver were not compared: {error}"

    def _write(
        self,
        pasted: list[Pasted],
        digests: list[str],
        real: list[Cut],
        said: tuple[asked.Asked, ...],
        beside: Compared | str,
    ) -> None:
        asking, folder = self._asking, self._asking.folder
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(COLUMNS)
        for number, (one, digest) in enumerate(zip(pasted, digests, strict=True), 1):
            name, box = _picture(number), one.box
            sides = (f"{side:g}" for side in (box.x, box.y, box.width, box.height))
            writer.writerow(
                (name, one.lesion_class, one.patient, *sides, f"{one.diameter_mm:.2f}",
                 int(one.atypical), one.background, digest)
            )  # fmt: skip
        self._out.write_bytes(TABLE, table.getvalue().encode())
        sheet = {key: [cut.roi for cut in real if cut.lesion_class == key] for key in CLASSES}
        self._out.write_bytes("contact-sheet.png", contact_sheet.render(sheet))
        made = Made(
            {key: sum(one.lesion_class == key for one in pasted) for key in CLASSES},
            len({one.background for one in pasted}),
            len({one.patient for one in pasted}),
            sum(one.diameter_mm < one.drawn_mm for one in pasted),
            dict(self._left_out),
            asking.difficulty, asking.seed, folder.spacing_mm, folder.greys_hu, asking.thickness_mm,
            asking.phantom, "",
        ).sealed(table.getvalue().encode())  # fmt: skip
        found = Found(made, self._network.meta.name, said, beside, asking.command)
        self._out.write_json(FOUND, found.to_json())
        self._out.write_bytes("report.md", words.page(found).encode())


def _picture(number: int) -> str:
    """The file of a pasted lesion, by its number from 1."""
    return f"images/{number:05d}.png"


def _png(hu: Floats, low: float, high: float) -> bytes:
    stream = io.BytesIO()
    grey = np.rint((np.clip(hu, low, high) - low) * (255 / (high - low))).astype(np.uint8)
    Image.fromarray(grey).save(stream, "PNG")
    return stream.getvalue()
