"""The example notebook runs without the web, and the texts below its cells are what it prints.

``PYTHONPATH=. python tests/ml/readers/test_example.py`` writes them anew.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ml import readers

NOTEBOOK = Path(readers.__file__).with_name("example.ipynb")

_RUN = """
import io, json, sys
from contextlib import redirect_stdout
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in ("fastapi", "starlette", "sqlalchemy", "jinja2", "torch", "sklearn", "app"):
            raise ModuleNotFoundError(f"{name} is not part of a plain installation", name=name)
sys.meta_path.insert(0, Absent())
scope, printed = {}, []
for source in json.load(sys.stdin):
    out = io.StringIO()
    with redirect_stdout(out):
        exec(source, scope)
    printed.append(out.getvalue())
print(json.dumps(printed))
"""


def cells() -> list[dict[str, Any]]:
    return [c for c in json.loads(NOTEBOOK.read_text("utf-8"))["cells"] if c["cell_type"] == "code"]


def printed() -> list[str]:
    """What each cell prints, run one after the other in a process of its own."""
    sources = json.dumps(["".join(cell["source"]) for cell in cells()])
    done = subprocess.run(
        [sys.executable, "-c", _RUN], input=sources, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: list[str] = json.loads(done.stdout)
    return found


def test_the_notebook_prints_what_stands_in_it() -> None:
    stored = ["".join("".join(out["text"]) for out in cell["outputs"]) for cell in cells()]
    assert any(stored)
    assert printed() == stored


def test_every_public_name_is_there_and_described() -> None:
    assert readers.__doc__ is not None
    for name in readers.__all__:
        assert getattr(readers, name).__doc__, name
    for name in ("load", "analyse", "plan", "simulate", "to_imrmc", "to_long_csv", "load_trials"):
        assert f"`{name}`" in readers.__doc__
    with pytest.raises(AttributeError, match="no attribute 'analyze'"):
        _ = readers.analyze  # type: ignore[attr-defined]


def _write() -> None:
    book = json.loads(NOTEBOOK.read_text("utf-8"))
    texts = iter(printed())
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            text = next(texts)
            stream = {"name": "stdout", "output_type": "stream",
                      "text": text.splitlines(keepends=True)}  # fmt: skip
            cell["outputs"] = [stream] if text else []
    NOTEBOOK.write_text(json.dumps(book, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    _write()
