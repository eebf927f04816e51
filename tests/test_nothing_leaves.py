"""Nothing leaves the house: no look-up, no connection, no file under the home folder.

The processes run with a home of their own and a guard in Python (``sitecustomize``); where strace
is there it watches the libraries as well, which Python cannot.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from factories import make_dicom, make_hu
from ml.checkpoints import checkpoint
from tests.ml.discs import BARELY, data_set

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parent.parent
MODEL = next(root for root in checkpoint.shipped() if root.name == "phantom-cnn")
GENERATOR = next(root for root in checkpoint.shipped() if "diffusion" in root.name)
TRACED = "trace=connect,sendto,sendmsg,sendmmsg"
BORROWED = re.compile(r"HOME|XDG_\w+|RAY_\w+|HEPATICA_\w+|PYTHONPATH")
QUIETING = re.compile(
    r"ORT_\w+|CI|TF_BUILD|SYSTEM_TEAMFOUNDATIONCOLLECTIONURI|GITHUB_\w+|GITLAB_\w+|CIRCLECI|TRAVIS|"
    r"JENKINS_\w+|CODEBUILD_\w+|BUILDKITE\w*|TEAMCITY_\w+|APPVEYOR|BITBUCKET_\w+"
)
"""Where one of these stands in the environment ONNX Runtime reports nothing, whatever we do."""

GUARD = """
import os, socket

def told(what, where):
    with open(os.environ["TOLD"], "a") as log:
        log.write(f"{what} {where}\\n")

def outward(address):
    host = address[0] if isinstance(address, tuple) else None
    return host is not None and str(host) not in ("127.0.0.1", "::1", "localhost", "", "0.0.0.0")

def guarded(name):
    method = getattr(socket.socket, name)
    def call(self, *arguments):
        if outward(arguments[-1]):
            told(name, arguments[-1])
            raise OSError(101, "nothing may leave")
        return method(self, *arguments)
    return call

for name in ("connect", "connect_ex", "sendto"):
    setattr(socket.socket, name, guarded(name))

for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr"):
    def asked(host, *arguments, _ask=getattr(socket, name), _name=name, **named):
        if outward((host.decode() if isinstance(host, bytes) else host,)):
            told(_name, host)
            raise OSError(101, "nothing may leave")
        return _ask(host, *arguments, **named)
    setattr(socket, name, asked)
"""


@dataclass(frozen=True)
class House:
    """A home without anything in it, and what is seen of processes that live there."""

    folder: Path

    def __post_init__(self) -> None:
        for name in ("home", "guard", "traces"):
            (self.folder / name).mkdir()
        (self.folder / "guard" / "sitecustomize.py").write_text(GUARD)

    @property
    def environment(self) -> dict[str, str]:
        return {
            **{
                key: value
                for key, value in os.environ.items()
                if not BORROWED.fullmatch(key) and not QUIETING.fullmatch(key)
            },
            "HOME": str(self.folder / "home"),
            "PYTHONPATH": f"{self.folder / 'guard'}{os.pathsep}{ROOT}",
            "TOLD": str(self.folder / "told"),
            "HEPATICA_DATABASE_URL": f"sqlite:///{self.folder}/hepatica.sqlite3",
            "HEPATICA_INSTALLATION_KEY_FILE": f"{self.folder}/installation.key",
            "HEPATICA_RUNS_DIR": f"{self.folder}/runs",
        }

    def command(self, *words: str) -> list[str]:
        """A command of Python's, watched where that can be done."""
        if not shutil.which("strace"):
            return [sys.executable, *words]
        trace = self.folder / "traces" / str(len(list((self.folder / "traces").iterdir())))
        return ["strace", "-D", "-f", "-qq", "-e", TRACED, "-o", str(trace), sys.executable, *words]

    def run(self, *words: str, given: str = "") -> str:
        done = subprocess.run(
            self.command(*words),
            cwd=self.folder,
            env=self.environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def seen(self) -> list[str]:
        """Everything that wanted out, and every file that was left in the home."""
        told = self.folder / "told"
        found = told.read_text().splitlines() if told.exists() else []
        for trace in (self.folder / "traces").iterdir():
            found += [line for line in trace.read_text("utf-8", "replace").splitlines()
                      if re.search(r"sa_family=AF_INET6?\b", line)
                      and not re.search(r'"127\.0\.0\.1"|"::1"|"0\.0\.0\.0"', line)]  # fmt: skip
        home = self.folder / "home"
        return found + [str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()]


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.fixture
def server(house: House) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = house.command("-m", "app", "serve", "--port", str(port))
    process = subprocess.Popen(
        words, cwd=house.folder, env=house.environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            with suppress(httpx.HTTPError):
                if httpx.get(f"{address}/health/start", timeout=5).status_code == 200:
                    break
            time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(30)


def test_the_guard_sees_a_look_up_a_connection_and_a_file(house: House) -> None:
    house.run(
        "-c",
        "import socket\n"
        "for attempt in (lambda: socket.getaddrinfo('hepatica.invalid', 443),\n"
        "                lambda: socket.create_connection(('192.0.2.1', 9), 1)):\n"
        "    try: attempt()\n"
        "    except OSError: pass\n"
        "from pathlib import Path\n"
        "(Path.home() / 'left').touch()\n",
    )
    seen = "\n".join(house.seen())
    assert "getaddrinfo hepatica.invalid" in seen
    assert "192.0.2.1" in seen
    assert "left" in seen


def test_onnx_runtime_reports_where_nothing_forbids_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: without our door the library leaves an identity of this machine behind."""
    monkeypatch.setenv("CI", "true")  # the house must not take it over
    cut_off = next(
        (words for words in (
            ["unshare", "-n"], ["unshare", "-rn"],
            ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=connect:error=ENETUNREACH"],
        ) if _works(words)),
        None,
    )  # fmt: skip
    if cut_off is None:
        pytest.skip("neither unshare nor strace can keep the control from reporting for real")
    program = f"import onnxruntime; onnxruntime.InferenceSession({str(MODEL / 'model.onnx')!r})"
    environment = {**house.environment, "PYTHONPATH": ""}
    subprocess.run([*cut_off, sys.executable, "-c", program], env=environment, check=True)
    if not [file for file in house.seen() if "onnxruntime" in file]:
        pytest.skip("this ONNX Runtime leaves nothing behind on this machine, forbidden or not")
    shutil.rmtree(house.folder / "home")
    subprocess.run(
        [*cut_off, sys.executable, "-c", f"import ml; {program}"],
        env=house.environment,
        check=True,
    )
    assert house.seen() == []


def _works(words: list[str]) -> bool:
    if not shutil.which(words[0]):
        return False
    return subprocess.run([*words, "true"], capture_output=True).returncode == 0


def test_nothing_leaves_a_server_that_takes_classifies_and_draws(house: House, server: str) -> None:
    slice_ = make_dicom(make_hu(side=256))
    token = house.run("-m", "app", "token", "add", "pacs", "--role", "machine")
    house.run("-m", "app", "user", "add", "ada", "--role", "reader", given="correct horse\n")
    with httpx.Client(base_url=server, headers={"Authorization": f"Bearer {token}"}) as machine:
        place = {"center": "128,128", "diameter_mm": "24"}
        scored = machine.post("/api/v1/classifications", files={"image": slice_}, data=place)
        assert scored.status_code == 200, scored.text
        drawn = machine.post("/api/v1/synthetics", json={"lesion_class": "cyst", "count": 2})
        assert drawn.status_code == 200, drawn.text
    with httpx.Client(base_url=server, headers={"Origin": server}, follow_redirects=True) as person:
        entered = person.post("/sessions", data={"name": "ada", "password": "correct horse"})
        assert entered.status_code == 200
        files = [("files", ("a.dcm", slice_))]
        taken = person.post("/cases", files=files, data={"contrast_phase": "portal"})
        assert taken.status_code == 200
        assert "a.dcm" in taken.text
    assert house.seen() == []


def test_nothing_leaves_the_commands_that_train_export_and_draw(house: House) -> None:
    data_set(house.folder / "data", patients=8)
    train = f"--data data {BARELY}"
    for command in (
        f"classifier --out cnn {train}",
        f"gan --out gan --lesion-class dark {train}",
        f"synthesize --checkpoint {GENERATOR} --count 2 --out drawn",
    ):
        house.run("-m", "ml", *command.split())
    assert (house.folder / "cnn" / "checkpoint" / "model.onnx").exists()
    assert house.seen() == []


@pytest.mark.parametrize("start", ["loky", "spawn"])
def test_nothing_leaves_the_workers_of_a_run(house: House, start: str) -> None:
    """A task that computes with ONNX Runtime, in a process that joblib or Python has started."""
    (house.folder / "tasks.py").write_text(
        "def task(number):\n"
        "    from ml.checkpoints.serving import load\n"
        f"    return load({str(GENERATOR)!r}).draw([number]).shape\n"
        "if __name__ == '__main__':\n"
        "    import joblib, multiprocessing\n"
        "    from concurrent.futures import ProcessPoolExecutor\n"
        f"    if {start!r} == 'loky':\n"
        "        joblib.Parallel(2)(joblib.delayed(task)(i) for i in range(2))\n"
        "    else:\n"
        "        with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as pool:\n"
        "            pool.submit(task, 0).result()\n"
    )
    house.run("tasks.py")
    assert house.seen() == []


def test_every_way_to_onnx_runtime_leads_through_our_door() -> None:
    """``ml/__init__.py`` closes it; whoever imports the library must have come through ``ml``."""
    reached = []
    for folder in ("app", "ml", "migrations", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            if path.parent.name == "bench" and path.stem.startswith("peer_"):
                continue  # run by another Python, which has no ml
            text = path.read_text("utf-8")
            if re.search(r"^\s*(import|from) onnxruntime", text, re.M):
                reached.append(path)
                door = path.is_relative_to(ROOT / "ml") or re.search(
                    r"^(from|import) ml\b", text, re.M
                )
                assert door, f"{path} reaches ONNX Runtime past ml"
    assert ROOT / "ml" / "checkpoints" / "serving.py" in reached


def test_the_image_forbids_it_as_well() -> None:
    assert "ORT_DISABLE_TELEMETRY=1" in (ROOT / "Dockerfile").read_text("utf-8")
