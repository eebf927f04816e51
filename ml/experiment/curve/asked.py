"""What a curve is asked for; kept in ``OUT/config.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ml import config
from ml.config import Experiment, Split
from ml.experiment.curve import CurveError, cohorts
from ml.experiment.request import refuse_seeds
from ml.ground.records import from_json, to_json
from ml.phantom import VERSION, Version
from ml.phantom.lesions import DIFFICULTY
from ml.progress import RunDir, refuse_data_set

_FILE = "config.json"


@dataclass(frozen=True)
class Asking:
    """A curve.

    Attributes:
        sizes: numbers of training lesions.
        seeds: repeats, each with training patients of its own: ``settings.seed`` and up.
        kept: settings named by the command; those of a preset may be lowered to fit the lesions.
        phantom: which phantom is trained and tested on.
    """

    settings: Experiment
    sizes: tuple[int, ...]
    seeds: int
    command: str
    kept: tuple[str, ...] = ()
    phantom: Version = VERSION

    @classmethod
    def of(
        cls,
        preset: str,
        sizes: Sequence[int],
        assignments: Sequence[str],
        seeds: int,
        phantom: Version = VERSION,
    ) -> Asking:
        """Refuses what cannot be.

        Raises:
            ConfigError: no such preset or setting, or an impossible number of seeds.
            CurveError: impossible sizes, or settings that a curve has no choice of.
        """
        refuse_seeds(seeds)
        cohorts.refuse_sizes(sizes)
        kept = config.named(assignments)
        settings = replace(config.experiment(preset).override(assignments), split=Split.FRESH)
        if "split" in kept or settings.method_version < 2:
            raise CurveError(
                "A curve is tested on fresh phantoms by the second method; leave split and "
                "method_version out."
            )
        if "difficulty" not in kept:
            settings = replace(settings, difficulty=DIFFICULTY[phantom])
        words = (
            f"python -m ml curve --preset {preset} --sizes {'+'.join(map(str, sizes))} "
            f"--seeds {seeds} --phantom-version {phantom} --out OUT"
        )
        told = " ".join([words, "--set", *assignments] if assignments else [words])
        return cls(settings, tuple(sizes), seeds, told, kept, phantom)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The seeds one by one."""
        return tuple(range(self.settings.seed, self.settings.seed + self.seeds))

    def of_seed(self, seed: int) -> Experiment:
        """The settings of one seed's trainings."""
        return replace(self.settings, seed=seed)

    def keep(self, out: Path) -> None:
        """Write down what is asked for: from then on the folder is this curve's.

        A curve may be given more seeds later; those that are done stay.

        Raises:
            OutputError: ``out`` is a data set or cannot be written.
            CurveError: it holds another curve, or another run.
        """
        refuse_data_set(out)
        self.refuse_other(out)
        told = (self.settings.dump(), self.sizes, self.seeds, self.command)
        kept = _Kept(*told, phantom_version=self.phantom)
        RunDir(out).write_json(_FILE, to_json(kept))

    def refuse_other(self, out: Path) -> None:
        """CurveError where ``out`` holds something else than a part of this curve."""
        if not (out / _FILE).exists():
            return
        try:
            before = from_json(_Kept, RunDir(out).read_json(_FILE))
            settings = config.kept(before.experiment)
        except ValueError as error:
            raise CurveError(
                f"{out} holds no curve ({error}); give a new folder with --out."
            ) from error
        if (settings, tuple(before.sizes)) != (self.settings, self.sizes):
            raise CurveError(
                f"{out} holds a curve with other settings or sizes; give a new folder with --out."
            )
        if before.phantom_version != self.phantom:
            raise CurveError(
                f"{out} holds a curve on phantoms of version {before.phantom_version}, not "
                f"{self.phantom}; give a new folder with --out."
            )
        if before.seeds > self.seeds:
            raise CurveError(
                f"{out} holds a curve of {before.seeds} seeds; give as many or more, or a new "
                "folder with --out."
            )


@dataclass(frozen=True)
class _Kept:
    """``config.json``; a curve that names no version of the phantom had the first."""

    experiment: Mapping[str, Any]
    sizes: tuple[int, ...]
    seeds: int
    command: str
    phantom_version: str = Version.FIRST
