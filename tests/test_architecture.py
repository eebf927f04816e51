"""House rules as programs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def sources(*folders: str) -> list[Path]:
    return [path for folder in folders for path in (ROOT / folder).rglob("*.py")]


def test_only_the_database_module_and_the_worker_commit():
    allowed = {"db.py", "worker.py"}
    for path in sources("app"):
        if path.name not in allowed:
            assert ".commit(" not in path.read_text("utf-8"), path


def test_only_the_settings_read_the_environment():
    for path in sources("app"):
        if path.name != "settings.py":
            assert not re.search(r"os\.environ|getenv", path.read_text("utf-8")), path


def test_the_web_application_starts_without_torch():
    program = (
        "import sys; import app.main; "
        "heavy = {'torch', 'onnx', 'sklearn', 'joblib', 'matplotlib'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=60)


def test_no_template_has_inline_scripts_or_styles_that_the_policy_forbids():
    for path in (ROOT / "templates").rglob("*.html"):
        text = path.read_text("utf-8")
        assert not re.search(r"\sstyle=|\son[a-z]+=|javascript:", text), path
        for attributes in re.findall(r"<script\b([^>]*)>", text):
            assert "src=" in attributes or "application/json" in attributes, path


def test_nothing_is_fetched_from_another_host():
    pattern = re.compile(r"""(src|href|url|import|from)\s*[=(]?\s*["'(]?https?://""")
    files = [*(ROOT / "templates").rglob("*.html"), *(ROOT / "static").rglob("*.js"),
             *(ROOT / "static").rglob("*.css")]  # fmt: skip
    assert files
    for path in files:
        assert not pattern.search(path.read_text("utf-8")), path


def test_every_module_of_ours_says_what_it_is():
    for path in sources("app", "ml"):
        tree = ast.parse(path.read_text("utf-8"))
        assert ast.get_docstring(tree) or not tree.body, path


def test_ids_are_random():
    from app.db import Base

    for table in Base.metadata.sorted_tables:
        for column in table.primary_key:
            assert column.type.python_type is not int, table.name
