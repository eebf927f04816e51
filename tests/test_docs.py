"""The documents tell the truth: commands run, settings are all there, figures are the measured."""

from __future__ import annotations

import io
import json
import lzma
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image

import forked
import ml.__main__
import studies
from app.db import Database
from app.models import ApiToken, Checkpoint, Prediction
from app.models.jobs.holder import Holder
from app.models.jobs.job import Job, JobKind
from app.pacs.configured import ConfiguredPacs, PacsSettings
from app.routes.docs import EXAMPLES
from app.settings import Settings
from factories import make_dicom, make_hu
from ml.checkpoints import checkpoint
from ml.experiment import fresh_phantoms, report
from ml.experiment.curve import figure as curve_figure
from ml.experiment.curve import words as curve_words
from ml.experiment.curve.record import Curve
from ml.experiment.results import Results
from ml.experiment.tissue import asked, paste
from ml.trust.answer import Said
from tests.ml.experiment.tissue import livers

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")


FENCED = re.findall(r"^```(\w*)\n(.*?)^```", README, re.S | re.M)
BLOCKS = [text for language, text in FENCED if not language]
PATIENCE_S = 540
SMALL = (
    "--preset quick --jobs 1 --set folds=2 validation_parts=2 classic=20 base=20 synthetic=4 "
    "least_steps=0 gan.epochs=1 gan.width=2 gan.discriminator_width=2 acgan.epochs=1 acgan.width=2 "
    "acgan.discriminator_width=2 classifier.epochs=2 classifier.width=2 "
    "fresh_lesions=10 oracle_lesions=10 fidelity_rois=10 resamples=100 "
    "gan.collapse_spread=0 gan.collapse_correlation=0 acgan.collapse_spread=0 "
    "acgan.collapse_correlation=0"
)
"""Instead of the preset of the README's experiment: seconds instead of 40 minutes."""


def run(command: str, folder: Path, **environment: str) -> str:
    """A command of a document, with this interpreter as ``python``."""
    here = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": here, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, told = process.communicate(timeout=PATIENCE_S)
    finally:
        if process.poll() is None:  # with the workers that it started
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    assert process.returncode == 0, out + told
    return out


def run_here(lines: str, folder: Path) -> str:
    """Commands ``python -m ml …``, each in this process: to import PyTorch takes seconds.

    What they said on standard output.
    """
    out, complaints = io.StringIO(), io.StringIO()
    for line in lines.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        assert words[:3] == ["python", "-m", "ml"], line
        with chdir(folder), redirect_stdout(out), redirect_stderr(complaints):
            status = ml.__main__.main(words[3:])
        assert status == 0, f"{line}: {out.getvalue()} {complaints.getvalue()}"
    return out.getvalue()


def block(start: str) -> str:
    """The one code block of the README that begins so."""
    (found,) = [text for text in BLOCKS if text.startswith(start)]
    return found


def readme_commands(start: str) -> list[str]:
    """The lines of the README's code blocks that begin so, without their comments."""
    blocks = "\n".join(BLOCKS).replace("\\\n", " ")
    return [line.split("  #")[0].strip() for line in blocks.splitlines() if line.startswith(start)]


TWO_COMMANDS = "make run"
RESEARCHER = "python -m ml phantom --counts cyst=12"
MACHINE = "python -m app token"
EXPERIMENT = "python -m ml phantom --counts cyst=53"
OWN = "python -m ml prepare inspect"
PUBLIC = "python -m ml prepare nifti"
CURVE = "python -m ml curve"
PASTED = "python -m ml paste"
NODULES = "cat > nodules.json"
CARD = "python -m ml card"
MAP = "app/ "


def test_every_code_block_of_the_readme_is_run_here():
    """All but the map of the packages; whoever adds a block adds the test that runs it."""
    known = (
        TWO_COMMANDS, RESEARCHER, MACHINE, EXPERIMENT, OWN, PUBLIC, CURVE, PASTED, NODULES, CARD,
        MAP,
    )  # fmt: skip
    assert len(BLOCKS) == len(known)
    for start in known:
        assert block(start)


def rooms_of_the_map() -> dict[str, str]:
    """What the left column of the README's map names → what stands beside it."""
    rooms: dict[str, str] = {}
    home = latest = ""
    for line in block(MAP).splitlines():
        indent = len(line) - len(line.lstrip())
        names, _, beside = line.strip().partition("   ")
        if indent > 2:  # goes on with the line above
            rooms[latest] += f" {line.strip()}"
            continue
        home = "" if indent == 0 else home
        for name in re.findall(r"[\w/]+", names):
            latest = f"{home}{name}"
            rooms[latest] = beside
        home = latest if indent == 0 else home
    return rooms


def test_every_room_of_the_map_exists_and_every_room_is_in_the_map():
    named = rooms_of_the_map()
    for room in named:
        assert (ROOT / room).is_dir() if room.endswith("/") else (ROOT / f"{room}.py").is_file()
    for package in ("app", "ml"):
        rooms = {f"{path.parent.name}/" for path in (ROOT / package).glob("*/__init__.py")}
        assert {f"{package}/{room}" for room in rooms} <= set(named)
    models = set(re.findall(r"\w+", named["app/models/"]))
    assert {path.parent.name for path in (ROOT / "app/models").glob("*/__init__.py")} <= models


def test_every_path_that_the_map_names_exists():
    homes = [ROOT / home for home in (".", "app", "app/models", "ml")]
    for beside in rooms_of_the_map().values():
        for path in re.findall(r"\w+/\w+", beside):
            files = [home / end for home in homes for end in (f"{path}.py", f"{path}/__init__.py")]
            tests = (ROOT / path).is_dir()
            assert tests or any(file.is_file() for file in files), path


def test_the_two_commands_are_targets_with_nothing_undefined():
    done = run("make --dry-run run test", ROOT)
    assert "app serve --demo" in done
    assert "-m pytest" in done


@pytest.fixture(scope="module")
def researcher(tmp_path_factory):
    """A folder in which the researcher's block was run, line by line as it stands there."""
    folder = tmp_path_factory.mktemp("researcher")
    return folder, run_here(block(RESEARCHER), folder)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_path_of_the_researcher_runs_as_written(researcher):
    folder, told = researcher
    assert (folder / "data" / "contact-sheet.png").exists()
    for trained in ("run-cnn", "run-gan"):
        made = checkpoint.Checkpoint.load(folder / trained / "checkpoint")
        assert "--preset quick" in made.command
    assert len(list((folder / "drawn").rglob("*.png"))) == 9
    assert "5 readers, 120 images" in told


@pytest.mark.long
def test_the_commands_of_the_card_run_as_written():
    told = run(block(CARD), ROOT)
    assert told.startswith("# phantom-cnn\n")
    assert "# phantom-cnn: checklists" in told


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_commands_of_the_experiment_give_the_digest_and_a_plan(tmp_path):
    """As written, but the training itself, which takes 40 minutes: its plan is made instead."""
    lines = block(EXPERIMENT)
    lines, trains, rest = lines.partition("python -m ml experiment")
    run(lines, tmp_path)
    experiment = f"{trains}{rest}".partition("\n")[0].split("  #")[0]
    plan = run(f"{experiment} --dry-run", tmp_path)
    told = re.search(r"182 lesions of (\d+) patients .*?digest `(\w+)` \(on a", README)
    assert f"182 phantom lesions of {told[1]} patients" in plan
    assert not (tmp_path / "run-liver").exists()
    digest = re.search(r"digest (\w+)", plan)[1]
    if digest not in told.groups():
        pytest.skip(f"a kind of processor that the README does not know: digest {digest}")


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_block_of_the_experiment_runs_to_its_table_on_a_small_scale(researcher, monkeypatch):
    """The same four commands with the smallest preset, on the phantoms that are there already."""
    folder, _ = researcher
    monkeypatch.setattr(fresh_phantoms, "CHUNK", 4)  # of a class at a time
    wanted = re.findall(r"python -m ml (?:experiment|report).*", block(EXPERIMENT))
    small = "\n".join(wanted).replace("liver-phantoms", "data")
    small = small.replace("--preset compact --seeds 3", SMALL)
    table = run_here(small, folder)
    assert (folder / "run-liver" / "report.html").exists()
    for arm in ("classic+dcgan", "classic+acgan", "oracle"):
        assert re.search(rf"^\| {re.escape(arm)} \|", table, re.M)


@pytest.mark.long
def test_the_block_of_ones_own_data_takes_a_folder_for_each_class(tmp_path):
    random = np.random.default_rng(0)
    for number, name in enumerate(("Mets", "Haemangioma", "0") * 3):
        picture = tmp_path / "DIR" / name / f"P{number}_a.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        grey = random.integers(40, 255, (10, 9)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
        Image.fromarray(grey).save(picture)
    run(block(OWN), tmp_path)
    counts = json.loads((tmp_path / "DATA" / "manifest.json").read_text("utf-8"))["classes"]
    assert counts == {"cyst": 3, "metastasis": 3, "hemangioma": 3}
    assert "72 × 80 (9)" in (tmp_path / "DATA" / "summary.md").read_text("utf-8")


def test_two_public_sets_become_one_and_are_told_apart_by_their_source(tmp_path):
    """Volumes and masks in the manner of the sets that the README names, made up."""
    nibabel = pytest.importorskip("nibabel")
    random = np.random.default_rng(0)
    lines = ["file,mask,class,patient,source"]
    classes = ("colorectal", "hemangioma", "breast", "HCC", "cyst", "ICC", "hemangioma", "cyst")
    for number, label in enumerate(classes):
        volume = random.integers(-50, 150, (60, 50, 6), np.int16)
        lesion = np.zeros(volume.shape, np.uint8)
        lesion[20:32, 15:25, 2:4] = 1
        for name, values in ((f"{number}.nii.gz", volume), (f"{number}-mask.nii.gz", lesion)):
            (tmp_path / "LIVER").mkdir(exist_ok=True)
            image = nibabel.Nifti1Image(values, np.diag([0.8, 0.8, 5.0, 1.0]))
            nibabel.save(image, tmp_path / "LIVER" / name)
        source = "MSWAL" if label == "cyst" else "MCT-LTDiag"
        lines.append(f"{number}.nii.gz,{number}-mask.nii.gz,{label},p{number},{source}")
    (tmp_path / "LIVER" / "labels.csv").write_text("\n".join(lines))
    run(block(PUBLIC), tmp_path)
    counts = json.loads((tmp_path / "PUBLIC" / "manifest.json").read_text("utf-8"))["classes"]
    assert counts == {"metastasis": 2, "hemangioma": 2, "cyst": 2}
    told = (tmp_path / "PUBLIC" / "summary.md").read_text("utf-8")
    assert "Every cyst and nothing else has source MSWAL" in told


@pytest.mark.long
def test_the_block_of_the_learning_curve_can_be_planned_on_a_small_scale(tmp_path):
    """The curve itself takes an hour; its test makes a small one."""
    words = "--preset compact --sizes 20+40+80+160"
    assert words in block(CURVE)
    small = block(CURVE).replace(words, f"--dry-run --sizes 12+15 {SMALL}")
    told = run_here(small, tmp_path)
    assert "3 seeds, each with training patients of its own; 60 fresh lesions test" in told
    assert not (tmp_path / "curve-liver").exists()


@pytest.mark.long
def test_the_block_of_pasted_lesions_runs_on_made_up_livers(tmp_path, monkeypatch):
    monkeypatch.setattr(asked, "TRAINED", dict.fromkeys(asked.TRAINED, 6))
    monkeypatch.setattr(paste, "TESTED_OF_EACH", 2)
    monkeypatch.chdir(livers.folder(tmp_path / "SLICES", patients=8, each=1).parent)
    words = shlex.split(block(PASTED).replace("--count 1200", "--count 30"))
    assert ml.__main__.main(words[3:]) == 0
    assert "30 lesions" in (tmp_path / "pasted" / "report.md").read_text("utf-8")


def test_the_nodules_of_the_readme_have_its_digest(test_data, tmp_path):
    (tmp_path / "nodules_ct64").symlink_to(test_data / "nodules_ct64")
    run(block(NODULES), tmp_path)
    digest = json.loads((tmp_path / "nodules" / "manifest.json").read_text("utf-8"))["digest"]
    assert f"digest `{digest[:12]}`" in README


def scored_case(url: str) -> str:
    """A case with one lesion that the served network scored."""
    database = Database(url)
    try:
        with database.transaction() as session:
            [lesion] = studies.make_lesion(session, 1)
            network = Checkpoint.classifier(session)
            Prediction.record(
                session, lesion, network, Said({"cyst": 0.75, "hemangioma": 0.25}), []
            )
            return str(lesion.case_id)
    finally:
        database.engine.dispose()


def queued_jobs(url: str) -> dict[str, str]:
    """A job, and one that no clerk has taken yet, of the one token."""
    database = Database(url)
    try:
        with database.transaction() as session:
            token = session.scalars(sa.select(ApiToken)).one()
            holder = Holder(None, token.id, token.name)
            asked = {"items": [{"refused": {"status": 404, "title": "", "detail": "nowhere"}}]}
            ids = [
                str(Job.queue(session, holder, JobKind.CLASSIFICATION, asked, total=1).id)
                for _ in range(2)
            ]
            return dict(zip(("JOB", "JOB_THAT_WAITS"), ids, strict=True))
    finally:
        database.engine.dispose()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        "HEPATICA_DATABASE_URL": f"sqlite:///{folder}/hepatica.sqlite3",
        "HEPATICA_INSTALLATION_KEY_FILE": f"{folder}/installation.key",
        "HEPATICA_CLERK": "false",  # so that a job waits until it is cancelled
        "HEPATICA_PACS": '[{"name": "main", "url": "http://127.0.0.1:1"}]',
    }
    with Path(os.devnull).open("wb") as nowhere:
        process = forked.app(
            "serve", "--port", str(port), env={**os.environ, **environment},
            stdout=nowhere.fileno(), stderr=nowhere.fileno(),
        )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(1200):  # on a machine that does much else
            assert process.poll() is None, "the server ended by itself"
            try:
                urllib.request.urlopen(f"{address}/health/ready", timeout=10)
                break
            except OSError:
                time.sleep(0.1)
        command = "python -m app token add my-pacs --role machine"
        token = run(command, ROOT, **environment).strip()
        assert token.startswith("hep_")
        assert "\n" not in token
        (folder / "slice.dcm").write_bytes(make_dicom(make_hu(side=512)))
        case = scored_case(environment["HEPATICA_DATABASE_URL"])
        jobs = queued_jobs(environment["HEPATICA_DATABASE_URL"])
        yield (
            folder,
            {"TOKEN": token, "HEPATICA": address, "CASE": case, "MODEL": "phantom-cnn", **jobs},
        )
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
@pytest.mark.parametrize("call", EXAMPLES)
def test_the_examples_of_the_api_page_run(call, server):
    folder, environment = server
    answer = json.loads(run(EXAMPLES[call], folder, **environment))
    assert answer


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
def test_the_curl_examples_of_the_readme_run(server):
    folder, environment = server
    classify, store = (
        command.replace("http://127.0.0.1:8000", environment["HEPATICA"])
        for command in readme_commands("curl")
    )
    assert json.loads(run(classify, folder, **environment))["calibrated_hu"] is True
    assert len(json.loads(run(store, folder, **environment))["00081199"]["Value"]) == 1


def test_every_call_of_the_api_has_an_example(client):
    paths = client.get("/openapi.json").json()["paths"]
    calls = {f"{method.upper()} {path}" for path, ways in paths.items() for method in ways}
    assert {call for call in calls if "/api/" in call} == set(EXAMPLES)


def test_every_setting_is_documented_with_its_default():
    for name, field in Settings.model_fields.items():
        row = re.search(rf"\| `HEPATICA_{name.upper()}` \| `?([^|`]*)`? \|", README)
        assert row, f"HEPATICA_{name.upper()} is not in the README"
        assert row[1].strip() == ("empty" if field.default == "" else str(field.default)), name


def test_the_pacs_of_the_readme_can_be_configured(tmp_path, monkeypatch):
    monkeypatch.setenv("PACS_PASSWORD", "swordfish")
    [block] = re.findall(r"```toml\n(.*?)```", README, re.S)
    path = tmp_path / "pacs.toml"
    path.write_text(block)
    [pacs] = ConfiguredPacs.of(Settings(pacs=str(path))).all
    told = set(re.findall(r"^#? ?(\w+) =", block, re.M)) - {"ca_bundle"}
    assert told == pacs.model_fields_set
    usual = PacsSettings(name="main", url=pacs.url)
    for field in told - {"name", "url", "user", "password_variable", "aet", "max_instance_mb"}:
        assert getattr(pacs, field) == getattr(usual, field), field
    assert pacs.max_instance_mb == int(usual.max_instance_mb)


def test_the_figures_of_the_readme_are_those_of_the_checkpoints():
    by_name = {root.name: checkpoint.Checkpoint.load(root) for root in checkpoint.shipped()}
    for name, shipped in by_name.items():
        assert f"`{name}`" in README
        for part in ("test", "cross_validation"):
            held_out = getattr(shipped.metrics, part, None)
            if held_out is None:
                continue
            figure = held_out.balanced_accuracy
            text = "{:.1f} % ({:.1f} to {:.1f})".format(
                *(100 * end for end in (figure.value, figure.low, figure.high))
            )
            assert text in README, text
            assert f"{held_out.n_lesions} lesions" in README


def test_the_figures_of_the_shipped_generators_are_those_of_their_checkpoints():
    order = ("cyst", "metastasis", "hemangioma")
    all_of = [
        checkpoint.Checkpoint.load(checkpoint.WEIGHTS / f"phantom-diffusion-{k}") for k in order
    ]
    for name in ("told_apart", "told_apart_real"):
        figures = [getattr(one.metrics, name) for one in all_of]
        told = ", ".join(f"{one.value:.2f} ({one.low:.2f} to {one.high:.2f})" for one in figures)
        assert told in README, told


@pytest.mark.parametrize("path", sorted((ROOT / "tests/evidence").glob("*.json.xz")), ids=str)
def test_what_the_readme_says_of_a_run_stands_in_its_results(path):
    results = Results.from_json(json.loads(lzma.decompress(path.read_bytes())))
    found, data = results.found, results.found.dataset
    for table in report.tables(results).split("\n\n"):
        assert table in README
    for sentence in found.scores.answer:
        assert sentence in README
    assert f"{data.lesions} lesions of {data.patients} patients" in README
    assert data.digest[:12] in README and results.run.commit[:12] in README
    assert "--preset compact --seeds 3" in found.asked.command


def test_the_learning_curve_of_the_readme_is_that_of_its_run():
    told = json.loads((ROOT / "tests/evidence/curve/compact.json").read_text("utf-8"))
    found = Curve.from_json(told)
    assert "\n".join(curve_words.balanced(found)) in README
    assert "\n".join(curve_words.differences(found.primary)) in README
    assert all(sentence in README for sentence in curve_words.answer(found))
    assert curve_figure.drawn(found) == (ROOT / "static/img/learning-curve.svg").read_text("utf-8")
    assert found.commit[:12] in README and f"--seeds {len(found.seeds)}" in README


def test_every_make_target_that_is_promised_is_listed_by_help():
    listed = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    promised = "setup setup-browser setup-pacs lint types bench weights worker demo-reset run "
    promised += "test check test-all chaos"
    for target in promised.split():
        assert re.search(rf"^ *{target} ", listed, re.M), target


def test_documents_name_no_path_of_one_machine():
    for path in ROOT.glob("*.md"):
        text = path.read_text("utf-8")
        assert not re.search(r"(?<![\w.])/(root|work|home|Users)/", text), path.name
