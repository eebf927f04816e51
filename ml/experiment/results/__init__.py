"""``results.json`` of a run with its types.

Since version 2 it says how far probabilities can be believed. Files of version 1, which do not name
it, are read, and written as they were; a later one is refused, as this program would read it
wrongly.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml.experiment.results.origin import Asked, DataSet, FreshPatients, OfTheRun
from ml.experiment.results.scores import Scores
from ml.experiment.results.synthetic import Synthetic
from ml.ground.errors import HepaticaError
from ml.ground.records import RecordError, from_json, merged, to_json
from ml.progress import RunDir

FILE = "results.json"
PREDICTIONS = "predictions.csv"
"""Beside it: every prediction, a line each (`ml.experiment.predictions`)."""
VERSION = 2
_FIRST = 1


class ResultsError(HepaticaError):
    """A ``results.json`` that is not there, not whole, or of another version."""


@dataclass(frozen=True)
class Evaluated:
    """What is evaluated from the files of a run's tasks, on any machine that has the data set.

    ``fresh`` is None unless the data are phantoms.
    """

    dataset: DataSet
    asked: Asked = field(metadata=merged())
    scores: Scores = field(metadata=merged())
    synthetic: Synthetic = field(metadata=merged())
    fresh: FreshPatients | None


@dataclass(frozen=True)
class Results:
    """Everything that a run found.

    Attributes:
        evaluated_by: the commit that evaluated it, where that is not the one that ran it.
        version: of its form.
    """

    run: OfTheRun = field(metadata=merged())
    found: Evaluated = field(metadata=merged())
    evaluated_by: str | None = None
    version: int = _FIRST

    @classmethod
    def from_json(cls, data: Any) -> Results:
        """The results whose ``to_json`` is ``data``; without a version they are of the first.

        Raises:
            ResultsError: of another version.
            RecordError: not the form of results; the place is named.
        """
        version = data.get("version", _FIRST) if isinstance(data, dict) else _FIRST
        if version not in range(_FIRST, VERSION + 1):
            raise ResultsError(
                f"{FILE} is of version {version!r}, and this program reads {_FIRST} to {VERSION}; "
                "use the program that wrote it."
            )
        return from_json(cls, data)

    def to_json(self) -> Any:
        """The form of ``results.json``."""
        return to_json(self)

    @classmethod
    def load(cls, folder: Path) -> Results:
        """The results of the run in ``folder``.

        Raises:
            ResultsError: none there, damaged, or of another version.
        """
        try:
            data = RunDir(folder).read_json(FILE)
        except (OSError, ValueError) as error:
            raise ResultsError(
                f"{folder} has no whole {FILE} ({error!r}); let the experiment end first."
            ) from error
        try:
            return cls.from_json(data)
        except RecordError as error:
            raise ResultsError(
                f"{folder} has no whole {FILE}: {error} Restore the file, or evaluate the run "
                f"again: python -m ml report {folder} --again --data DATA."
            ) from error

    def save(self, run_dir: RunDir) -> None:
        """Write ``results.json``; OutputError when the system does not let it be written."""
        run_dir.write_json(FILE, self.to_json())
