"""``python -m ml``: argument parsing only; each command imports what it needs when it runs."""

from __future__ import annotations

import argparse
import errno
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ml.errors import HepaticaError, is_full, reason

if TYPE_CHECKING:
    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]


def parser() -> argparse.ArgumentParser:
    """The command line of ``ml``; every subcommand sets ``run``, a function of the arguments."""
    root = argparse.ArgumentParser(prog="python -m ml", description=__doc__)
    commands = root.add_subparsers(dest="command", required=True, metavar="command")
    _phantom_arguments(commands)
    _prepare_arguments(commands)
    _classifier_arguments(commands)
    _gan_arguments(commands)
    _synthesize_arguments(commands)
    _weights_arguments(commands)
    _experiment_arguments(commands)
    _report_arguments(commands)
    _readers_arguments(commands)
    _leak_audit_arguments(commands)
    return root


def _phantom_arguments(commands: Commands) -> None:
    command = commands.add_parser(
        "phantom", help="simulate portal-phase liver CT with known truth, as DICOM series"
    )
    size = command.add_mutually_exclusive_group(required=True)
    size.add_argument("--patients", type=int, metavar="N", help="how many patients")
    size.add_argument(
        "--counts",
        type=_counts,
        metavar="CLASS=N,…",
        help="exact lesion counts instead, such as cyst=53,metastasis=64,hemangioma=65",
    )
    command.add_argument("--seed", type=int, default=0, metavar="S", help="default 0")
    command.add_argument(
        "--difficulty", type=float, metavar="D", help="0 textbook … 1 heavy overlap (default 0.2)"
    )
    command.add_argument(
        "--key-slices-only", action="store_true", help="write only the slice through each lesion"
    )
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    command.set_defaults(run=_phantom)


def _jobs(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text[:9]) > 1024:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 1024")
    return int(text)


def _counts(text: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for entry in text.split(","):
        key, equals, number = entry.partition("=")
        if not equals or not number.strip().isdecimal() or key.strip() in counts:
            raise argparse.ArgumentTypeError(f"{text!r} is not of the form cyst=53,metastasis=64")
        counts[key.strip()] = int(number)
    return counts


def _phantom(arguments: argparse.Namespace) -> None:
    from ml.phantom import series
    from ml.phantom.lesions import DEFAULT_DIFFICULTY
    from ml.progress import drive

    difficulty = arguments.difficulty
    if difficulty is None:
        difficulty = DEFAULT_DIFFICULTY
    rest = (arguments.seed, arguments.out, difficulty, arguments.key_slices_only)
    if arguments.counts is not None:
        drive(series.write_cohort(arguments.counts, *rest))
    else:
        drive(series.write(arguments.patients, *rest))


def _prepare_arguments(commands: Commands) -> None:
    from ml.dataset import columns

    command = commands.add_parser("prepare", help="make a data set of a folder of labelled images")
    kinds = command.add_subparsers(dest="what", required=True, metavar="images|dicom")
    for what, text, told in (
        ("images", "PNG, JPEG or DICOM with labels.csv beside them", columns.IMAGES),
        (
            "dicom",
            "DICOM series with lesions.csv, such as `phantom` writes",
            columns.DICOM,
        ),
    ):
        kind = kinds.add_parser(
            what,
            help=text,
            description=f"{text}. contact-sheet.png in DATA shows what was cut.",
            epilog=told,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        kind.add_argument("folder", type=Path, metavar="DIR")
        kind.add_argument(
            "--scheme", default="liver", metavar="FILE", help="liver (default) or a JSON file"
        )
        kind.add_argument(
            "--allow-mixed-patients",
            action="store_true",
            help="accept lesions of several classes in one patient",
        )
        kind.add_argument(
            "--boxes",
            choices=columns.BOXES,
            help="what the numbers of the column box are: x,y,width,height or x1,y1,x2,y2; "
            "needed where they could be both",
        )
        kind.add_argument(
            "--range",
            type=_range,
            metavar="LOW,HIGH",
            help="grey values that become black and white, of images without Hounsfield units, "
            "such as 0,4095; default the full range of their 8 or 16 bits",
        )
        kind.add_argument("--out", type=Path, required=True, metavar="DATA", help="a new folder")
    command.set_defaults(run=_prepare)


def _range(text: str) -> tuple[float, float]:
    from ml.images import greys

    try:
        return greys.checked([float(part) for part in text.split(",")])
    except greys.GreyRangeError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form 0,4095") from error


def _prepare(arguments: argparse.Namespace) -> None:
    from ml.dataset import prepare
    from ml.lesion import LesionScheme
    from ml.progress import drive

    steps = {"images": prepare.images, "dicom": prepare.dicom}[arguments.what]
    scheme = LesionScheme.load(arguments.scheme)
    options = prepare.Options(arguments.allow_mixed_patients, arguments.boxes, arguments.range)
    drive(steps(arguments.folder, scheme, arguments.out, options))


def _training_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data", type=Path, required=True, metavar="DATA", help="from prepare")
    command.add_argument("--out", type=Path, required=True, metavar="RUN", help="the run's folder")
    command.add_argument(
        "--preset",
        default="shipped",
        metavar="NAME",
        help="quick (a minute, learns nothing), shipped (default; minutes on a CPU), "
        "paper (wants a GPU: hours on a CPU)",
    )
    command.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="such as gan.epochs=40 seed=1",
    )
    command.add_argument("--name", metavar="NAME", help="the checkpoint's name")
    command.add_argument(
        "--checkpoint", type=Path, metavar="DIR", help="where it goes; default RUN/checkpoint"
    )
    command.add_argument("--device", default="cpu", metavar="NAME", help="cpu (default) or cuda")


def _classifier_arguments(commands: Commands) -> None:
    command = commands.add_parser(
        "classifier", help="train the CNN on a data set's training patients and score the others"
    )
    _training_arguments(command)
    command.add_argument(
        "--cross-validate",
        action="store_true",
        help="also train on the other folds, so that every lesion is tested once",
    )
    command.set_defaults(run=_classifier)


def _gan_arguments(commands: Commands) -> None:
    command = commands.add_parser(
        "gan", help="train the DCGAN of one class on a data set's training patients"
    )
    _training_arguments(command)
    command.add_argument("--lesion-class", required=True, metavar="CLASS", help="such as cyst")
    command.set_defaults(run=_gan)


def _synthesize_arguments(commands: Commands) -> None:
    command = commands.add_parser("synthesize", help="draw synthetic ROIs from a generator")
    command.add_argument("--checkpoint", type=Path, required=True, metavar="DIR")
    command.add_argument("--count", type=int, required=True, metavar="N")
    command.add_argument(
        "--seed", type=int, default=0, metavar="S", help="draws S, S+1, … (default 0)"
    )
    command.add_argument(
        "--truncation", type=float, default=1.0, metavar="T", help="scale of the latent, 0–1"
    )
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    command.set_defaults(run=_synthesize)


def _weights_arguments(commands: Commands) -> None:
    command = commands.add_parser("weights", help="train the shipped checkpoints again (phantoms)")
    command.add_argument("--out", type=Path, required=True, metavar="DIR")
    command.add_argument(
        "--work", type=Path, default=Path("var/weights"), metavar="DIR", help="default var/weights"
    )
    command.add_argument("--jobs", type=_jobs, default=2, metavar="N", help="trainings at a time")
    command.set_defaults(run=_weights)


def _weights(arguments: argparse.Namespace) -> None:
    from ml.progress import drive
    from ml.training import shipped

    drive(shipped.train(arguments.out, arguments.work, arguments.jobs))


def _classifier(arguments: argparse.Namespace) -> None:
    from ml import config
    from ml.progress import drive
    from ml.training import classifier

    _warn_of_hours(arguments)
    drive(
        classifier.train(
            arguments.data,
            config.preset(arguments.preset).override(arguments.set),
            arguments.out,
            arguments.name or "classifier",
            arguments.checkpoint,
            arguments.cross_validate,
            _training_command(arguments),
            arguments.device,
            lower="augment.per_fold" not in config.named(arguments.set),
        )
    )


def _gan(arguments: argparse.Namespace) -> None:
    from ml import config
    from ml.progress import drive
    from ml.training import gan

    _warn_of_hours(arguments)
    drive(
        gan.train(
            arguments.data,
            arguments.lesion_class,
            config.preset(arguments.preset).override(arguments.set),
            arguments.out,
            arguments.name,
            arguments.checkpoint,
            _training_command(arguments),
            arguments.device,
            lower="augment.per_fold" not in config.named(arguments.set),
        )
    )


def _warn_of_hours(arguments: argparse.Namespace) -> None:
    if arguments.preset == "paper" and arguments.device == "cpu":
        print(
            "The preset paper takes hours on a CPU: --device cuda uses a GPU, --preset shipped "
            "takes minutes.",
            file=sys.stderr,
        )


def _training_command(arguments: argparse.Namespace) -> str:
    """The command that trains the same again; folders by their role, not their place here."""
    words = ["python -m ml", arguments.command, "--data DATA --out RUN"]
    if arguments.command == "gan":
        words.append(f"--lesion-class {arguments.lesion_class}")
    elif arguments.cross_validate:
        words.append("--cross-validate")
    words.append(f"--preset {arguments.preset}")
    if arguments.set:
        words += ["--set", *arguments.set]
    return " ".join(words)


def _synthesize(arguments: argparse.Namespace) -> None:
    from ml.checkpoints import synthesize
    from ml.progress import drive

    drive(
        synthesize.draw(
            arguments.checkpoint,
            arguments.count,
            arguments.seed,
            arguments.out,
            arguments.truncation,
        )
    )


def _experiment_arguments(commands: Commands) -> None:
    command = commands.add_parser(
        "experiment", help="the paper's whole experiment: folds, generators, arms, statistics"
    )
    command.add_argument("--data", type=Path, required=True, metavar="DATA", help="from prepare")
    command.add_argument(
        "--preset", metavar="NAME", help="quick (default), compact, paper (wants a GPU)"
    )
    command.add_argument("--seeds", type=int, metavar="N", help="repeats; default 1")
    command.add_argument("--out", type=Path, required=True, metavar="RUN", help="the run's folder")
    command.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="such as gan.epochs=40 classic=500+2000",
    )
    command.add_argument("--device", metavar="NAME", help="cpu or cuda, instead of the preset's")
    command.add_argument(
        "--jobs", type=_jobs, default=0, metavar="N", help="tasks at a time; default one per core"
    )
    command.add_argument(
        "--cluster", metavar="ADDRESS", help="a Ray cluster that sees DATA and RUN, such as auto"
    )
    command.add_argument(
        "--fresh",
        type=Path,
        metavar="DIR",
        help="where fresh phantoms are kept, for several runs; default RUN/fresh",
    )
    command.add_argument(
        "--resume", action="store_true", help="go on with RUN, with the settings that it has"
    )
    command.add_argument(
        "--dry-run", action="store_true", help="check everything, print the plan, train nothing"
    )
    command.set_defaults(run=_experiment)


def _experiment(arguments: argparse.Namespace) -> None:
    from ml.dataset.manifest import Manifest
    from ml.experiment import report
    from ml.experiment import run as experiment
    from ml.experiment.request import Request
    from ml.progress import RunDir, drive

    if arguments.device:
        arguments.set.append(f"device={arguments.device}")
    told = (arguments.preset, arguments.set, arguments.seeds)
    manifest = Manifest.load(arguments.data)
    asked = (
        Request.again(arguments.out, *told, manifest)
        if arguments.resume
        else Request.of(*told).fitted(manifest)
    )
    if arguments.dry_run:
        for words in experiment.rehearse(
            asked.settings,
            manifest,
            arguments.out,
            asked.seeds,
            arguments.jobs,
            arguments.fresh,
            asked.capped,
        ):
            print(words, flush=True)
        return
    drive(
        experiment.run(
            asked.settings,
            manifest,
            RunDir(arguments.out),
            asked.seeds,
            arguments.jobs,
            arguments.cluster,
            arguments.fresh,
            asked.command,
            asked.capped,
        )
    )
    drive(report.write(arguments.out))


def _report_arguments(commands: Commands) -> None:
    command = commands.add_parser("report", help="write RUN/report.html from RUN/results.json")
    command.add_argument("folder", type=Path, metavar="RUN")
    command.add_argument(
        "--table", action="store_true", help="only print the nested scores, as a Markdown table"
    )
    command.add_argument(
        "--again",
        action="store_true",
        help="first evaluate the finished run anew from the files of its tasks (no PyTorch); "
        "needs --data",
    )
    command.add_argument("--data", type=Path, metavar="DATA", help="the run's data set")
    command.add_argument(
        "--fresh", type=Path, metavar="DIR", help="its fresh phantoms, where not in RUN/fresh"
    )
    command.set_defaults(run=_report)


def _report(arguments: argparse.Namespace) -> None:
    from ml.config import ConfigError
    from ml.experiment import again, report
    from ml.progress import drive

    if not arguments.again and (arguments.data or arguments.fresh):
        raise ConfigError("--data and --fresh are for evaluating a run again; give --again too.")
    if arguments.again and arguments.data is None:
        raise ConfigError(
            "--again needs the data set that the run was of, which is not in the run's folder: "
            "give it with --data DATA."
        )
    if arguments.again:
        drive(again.evaluate(arguments.folder, arguments.data, arguments.fresh))
    if arguments.table:
        print(report.table(arguments.folder), end="")
    else:
        drive(report.write(arguments.folder))


def _readers_arguments(commands: Commands) -> None:
    group = commands.add_parser("readers", help="statistics of reader studies")
    verbs = group.add_subparsers(dest="verb", required=True, metavar="verb")

    command = verbs.add_parser("analyse", help="analyse a file of ratings")
    command.add_argument(
        "file", type=Path, metavar="FILE", help="CSV reader,treatment,case,truth,rating, or .imrmc"
    )
    command.add_argument(
        "--covariance", choices=("delong", "jackknife"), help="default: delong where it applies"
    )
    command.add_argument("--margin", type=float, default=0.10, metavar="M", help="default 0.10")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=_readers_analyse)

    command = verbs.add_parser("plan", help="how many readers and images")
    command.add_argument("--readers", type=int, required=True, metavar="J")
    command.add_argument("--cases", type=int, required=True, metavar="K", help="images in all")
    command.add_argument(
        "--effect", type=float, required=True, metavar="D", help="difference of areas to show"
    )
    command.add_argument(
        "--components",
        type=Path,
        metavar="FILE",
        help="JSON with var, cov1, cov2, cov3, ms_tr and cases, as `readers analyse --json` prints",
    )
    command.add_argument("--margin", type=float, default=0.10, metavar="M", help="default 0.10")
    command.add_argument("--alpha", type=float, default=0.05, metavar="A", help="default 0.05")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=_readers_plan)

    command = verbs.add_parser("rehearse", help="simulated readers through the real analysis")
    command.add_argument("--readers", type=int, default=5, metavar="J", help="default 5")
    command.add_argument("--images", type=int, default=120, metavar="K", help="default 120")
    command.add_argument("--studies", type=int, default=500, metavar="N", help="default 500")
    command.add_argument(
        "--area", type=float, default=0.5, metavar="A", help="true AUC before rounding to ratings"
    )
    command.add_argument("--seed", type=int, default=0, metavar="S", help="default 0")
    command.add_argument("--margin", type=float, default=0.10, metavar="M", help="default 0.10")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=_readers_rehearse)


def _print_result(result: dict[str, Any], text: str, as_json: bool) -> None:
    print(json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) if as_json else text)


def _readers_analyse(arguments: argparse.Namespace) -> None:
    from ml.readers import files, tables

    result = tables.analyse_ratings(
        files.load(arguments.file), arguments.covariance, margin=arguments.margin
    )
    _print_result(result.to_json(), tables.analysis_text(result), arguments.json)


def _readers_plan(arguments: argparse.Namespace) -> None:
    from ml.readers import tables
    from ml.statistics import power

    pilot = power.Pilot.load(arguments.components) if arguments.components else None
    result = power.plan(
        arguments.readers,
        arguments.cases,
        arguments.effect,
        pilot,
        arguments.margin,
        arguments.alpha,
    )
    _print_result(result.to_json(), tables.plan_text(result), arguments.json)


def _readers_rehearse(arguments: argparse.Namespace) -> None:
    from ml.progress import drive
    from ml.readers import tables
    from ml.readers.rehearsal import Design, Rehearsal, RoeMetz

    design = Design(
        arguments.readers,
        arguments.images,
        margin=arguments.margin,
        ratings=RoeMetz.with_area(arguments.area),
    )
    rehearsal = Rehearsal(design, arguments.studies, arguments.seed)
    drive(rehearsal.run())
    result = rehearsal.outcome()
    _print_result(result.to_json(), tables.rehearsal_text(result), arguments.json)


def _leak_audit_arguments(commands: Commands) -> None:
    command = commands.add_parser(
        "leak-audit", help="can real and synthetic images be told apart by their files?"
    )
    command.add_argument("--real", type=Path, required=True, metavar="DIR")
    command.add_argument("--synthetic", type=Path, required=True, metavar="DIR")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=_leak_audit)


def _leak_audit(arguments: argparse.Namespace) -> None:
    from ml.leak_audit import audit as leaks
    from ml.leak_audit.words import audit_text

    result = leaks.audit_folders(arguments.real, arguments.synthetic)
    _print_result(result.to_json(), audit_text(result), arguments.json)


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 a refusal (told on stderr), 2 wrong arguments, 130 interrupted."""
    arguments = parser().parse_args(argv)
    try:
        arguments.run(arguments)
        sys.stdout.flush()
    except HepaticaError as error:
        return _refused(str(error))
    except BrokenPipeError:
        _drop_stdout()  # whoever read the output has seen enough
        return 1
    except OSError as error:
        return _refused(_system_told(error))
    except MemoryError:
        return _refused("this machine has not enough memory for that; ask for less at a time.")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def _refused(words: str) -> int:
    print(f"error: {words}", file=sys.stderr)
    return 1


def _system_told(error: OSError) -> str:
    """One sentence for what the system refused, where no command has words of its own."""
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if name is not None]
    if not names and is_full(error):
        _drop_stdout()
    what = " and ".join(names) or "The output"
    if is_full(error) or error.errno == errno.EROFS:
        return f"{what} cannot be written: {reason(error)}. Make room or choose another place."
    return f"{what} cannot be used: {reason(error)}. Check the path and your rights there."


def _drop_stdout() -> None:
    """What is still buffered would be tried again, and fail again, when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
