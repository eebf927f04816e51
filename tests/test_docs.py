"""The documents tell the truth: commands run, settings are all there, figures are the measured."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from app.routes.docs import EXAMPLES
from app.settings import Settings
from factories import make_dicom, make_hu
from ml import checkpoint
from ml.report import markdown

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")


FEW = "cyst=8,metastasis=8,hemangioma=8"


def run(command: str, folder: Path, **environment: str) -> str:
    """A command of a document, with this interpreter as ``python``."""
    here = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": here, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def readme_commands(start: str) -> list[str]:
    """The lines of the README's code blocks that begin so, without their comments."""
    blocks = "\n".join(re.findall(r"```\n(.*?)```", README, re.S)).replace("\\\n", " ")
    return [line.split("  #")[0].strip() for line in blocks.splitlines() if line.startswith(start)]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        "HEPATICA_DATABASE_URL": f"sqlite:///{folder}/hepatica.sqlite3",
        "HEPATICA_INSTALLATION_KEY_FILE": f"{folder}/installation.key",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "serve", "--port", str(port)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"{address}/health/ready", timeout=2)
                break
            except OSError:
                time.sleep(0.1)
        command = "python -m app token add my-pacs --role machine"
        token = run(command, ROOT, **environment).strip()
        assert token.startswith("hep_")
        assert "\n" not in token
        (folder / "slice.dcm").write_bytes(make_dicom(make_hu(side=512)))
        yield folder, {"TOKEN": token, "HEPATICA": address}
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
def test_the_curl_example_of_the_readme_runs(server):
    folder, environment = server
    (command,) = readme_commands("curl")
    command = command.replace("http://127.0.0.1:8000", environment["HEPATICA"])
    answer = json.loads(run(command, folder, **environment))
    assert answer["calibrated_hu"] is True


def test_every_call_of_the_api_has_an_example(client):
    paths = client.get("/openapi.json").json()["paths"]
    calls = {f"{method.upper()} {path}" for path, ways in paths.items() for method in ways}
    assert {call for call in calls if "/api/" in call} == set(EXAMPLES)


def test_the_science_of_the_readme_runs_without_the_web(tmp_path):
    commands = [line.replace("ml/weights", str(ROOT / "ml/weights")) for line in
                readme_commands("python -m ml")]  # fmt: skip
    assert len(commands) >= 5
    for command in commands:
        if "classifier" in command or " gan " in command or "report" in command:
            continue  # they train, or need what was trained; tests/ml does so on a small scale
        command = command.replace("cyst=53,metastasis=64,hemangioma=65", FEW)
        run(f"{command} --dry-run" if "experiment" in command else command, tmp_path)
    assert len(list((tmp_path / "drawn").rglob("*.png"))) == 9


def test_every_setting_is_documented_with_its_default():
    for name, field in Settings.model_fields.items():
        row = re.search(rf"\| `HEPATICA_{name.upper()}` \| `?([^|`]*)`? \|", README)
        assert row, f"HEPATICA_{name.upper()} is not in the README"
        assert row[1].strip() == ("empty" if field.default == "" else str(field.default)), name


def test_the_figures_of_the_readme_are_those_of_the_checkpoints():
    by_name = {root.name: checkpoint.Checkpoint.load(root) for root in checkpoint.shipped()}
    for name, shipped in by_name.items():
        assert f"`{name}`" in README
        for part in ("test", "cross_validation"):
            held_out = shipped.metrics.get(part)
            if not held_out:
                continue
            figure = held_out["balanced_accuracy"]
            text = "{:.1f} % ({:.1f} to {:.1f})".format(
                *(100 * figure[key] for key in ("value", "low", "high"))
            )
            assert text in README, text
            assert f"{held_out['n_lesions']} lesions" in README


@pytest.mark.parametrize("path", sorted((ROOT / "tests/evidence").glob("*.json")), ids=str)
def test_the_tables_of_the_readme_are_those_of_their_runs(path):
    results = json.loads(path.read_text("utf-8"))
    assert markdown.table(results) in README
    data = results["dataset"]
    assert f"{data['lesions']} lesions of {data['patients']} patients" in README
    assert data["digest"][:12] in README
    assert results["commit"][:12] in README
    for sentence in results["answer"]:
        assert sentence in README
    arm = re.escape("python -m ml experiment") + ".*" + re.escape("--preset compact --seeds 3")
    assert re.search(arm, results["command"])


def test_every_make_target_that_is_promised_is_listed_by_help():
    listed = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    promised = "setup setup-browser lint types bench weights worker demo-reset run test"
    for target in promised.split():
        assert re.search(rf"^ *{target} ", listed, re.M), target


def test_documents_name_no_path_of_one_machine():
    for path in ROOT.glob("*.md"):
        text = path.read_text("utf-8")
        assert not re.search(r"(?<![\w.])/(root|work|home|Users)/", text), path.name
