"""The folder of a run.

RUN/views/SEED/      classic augmentations of all lesions, and what was drawn
RUN/fresh/           lesions of fresh phantom patients, unless another folder keeps them
RUN/tasks/NAME/      one generator, classifier or measurement, or pasted lesions of a class;
                     ``result.json`` is written last, and means done
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import overload

from ml.experiment import fresh_phantoms
from ml.experiment.outcomes import (
    ClassifierOutcome,
    GeneratorOutcome,
    Measurement,
    Missing,
    PastedOutcome,
)
from ml.experiment.tasks import (
    CutPasted,
    CutViews,
    DrawFresh,
    Measure,
    Task,
    TrainClassifier,
    TrainGenerator,
)
from ml.ground.records import from_json
from ml.progress import RunDir


@dataclass(frozen=True)
class RunFolder:
    """Where a run reads and writes; picklable, so that a task can be sent anywhere.

    Attributes:
        data: the data set.
        fresh: where fresh phantoms are kept; one folder may serve many runs.
        owner: process id of the run, when its tasks are on the same machine.
        start: names this start of the run, of several.
        tissue: where pasted lesions lie; None where no arm has such, or their ROIs are cut.
    """

    data: Path
    run: Path
    fresh: Path
    owner: int = 0
    start: str = ""
    tissue: Path | None = None

    @property
    def stop(self) -> Path:
        """Appears when the tasks of this start are to end."""
        return self.run / f"stop{self.start}"

    def task(self, name: str) -> RunDir:
        """The folder of a generator, classifier or measurement."""
        return RunDir(self.run / "tasks" / name)

    def views(self, seed: int) -> RunDir:
        """The folder of one seed's classic augmentations."""
        return RunDir(self.run / "views" / str(seed))

    def has_result(self, name: str) -> bool:
        """Whether a generator, classifier or measurement has ended."""
        return (self.run / "tasks" / name / "result.json").exists()

    @overload
    def result(self, task: CutPasted) -> PastedOutcome: ...
    @overload
    def result(self, task: TrainGenerator) -> GeneratorOutcome: ...
    @overload
    def result(self, task: TrainClassifier) -> ClassifierOutcome: ...
    @overload
    def result(self, task: Measure) -> Measurement | Missing: ...
    def result(
        self, task: CutPasted | TrainGenerator | TrainClassifier | Measure
    ) -> PastedOutcome | GeneratorOutcome | ClassifierOutcome | Measurement | Missing:
        """What a generator, classifier or measurement told at its end.

        Raises:
            OSError: it has not ended.
            ValueError: what it left is no JSON.
            RecordError: it is not what such a task tells.
        """
        data, place = self.task(task.name).read_json("result.json"), f"{task.name}/result.json"
        match task:
            case CutPasted():
                return from_json(PastedOutcome, data, place)
            case TrainGenerator():
                return from_json(GeneratorOutcome, data, place)
            case TrainClassifier():
                return from_json(ClassifierOutcome, data, place)
            case Measure():
                measured: Measurement | Missing = from_json(Missing | Measurement, data, place)
                return measured

    def is_done(self, task: Task) -> bool:
        """Whether a task's files say that it is done."""
        if isinstance(task, CutViews):
            return (self.views(task.seed).path / f"{task.start}.npy").exists()
        if isinstance(task, DrawFresh):
            return fresh_phantoms.is_made(task.chunk, self.fresh)
        return self.has_result(task.name)
