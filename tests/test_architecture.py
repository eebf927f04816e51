"""House rules as programs."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tokenize
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


def test_the_web_application_starts_without_torch_and_without_statistics():
    program = (
        "import sys; import app.main; "
        "heavy = {'torch', 'onnx', 'sklearn', 'joblib', 'scipy.stats', 'scipy.ndimage'} "
        "& set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=60)


def test_one_place_turns_a_network_s_values_into_grey():
    """Real and synthetic ROIs that were rounded by two rules could be told apart."""
    homes = [path for path in sources("app", "ml") if "127.5" in path.read_text("utf-8")]
    assert homes == [ROOT / "ml/images/roi.py"]


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


def file_of(dotted: str) -> Path | None:
    """The file of a module or package of ours."""
    path = ROOT.joinpath(*dotted.split("."))
    files = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def top_names(path: Path) -> set[str]:
    """What stands at the top of a module: defined, assigned or imported there."""
    found: set[str] = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {name.asname or name.name for name in node.names}
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        found |= {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    return found


def stale(text: str) -> list[str]:
    """The dotted names of ours in a text of which no module of ours knows anything."""
    gone = []
    for dotted in re.findall(r"(?<![\w./@])(?:app|ml)(?:\.[A-Za-z_]\w*)+", text):
        parts = dotted.split(".")
        longest = max(k for k in range(1, len(parts) + 1) if file_of(".".join(parts[:k])))
        home = file_of(".".join(parts[:longest]))
        if longest < len(parts) and parts[longest] not in top_names(home):
            gone.append(dotted)
    return gone


def test_prose_names_no_module_that_is_gone():
    """Docstrings, comments, messages and documents name modules where they are now."""
    assert stale("see `ml.images.roi.Box` and app.models.trial") == ["app.models.trial"]
    for path in sources("app", "ml"):
        with tokenize.open(path) as stream:
            for token in tokenize.generate_tokens(stream.readline):
                if token.type in (tokenize.STRING, tokenize.COMMENT):
                    assert not stale(token.string), f"{path}:{token.start[0]}"
    for path in ROOT.glob("*.md"):
        assert not stale(path.read_text("utf-8")), path


def test_ids_are_random():
    from app.db import Base

    for table in Base.metadata.sorted_tables:
        kinds = {column.type.python_type for column in table.primary_key}
        assert kinds != {int}, f"{table.name} counts its ids; one could be guessed"


def test_each_import_contract_breaks_on_a_planted_violation(tmp_path):
    """A contract that cannot fail guards nothing: every one is shown to, on a copy."""
    for folder in ("app", "ml"):
        shutil.copytree(
            ROOT / folder,
            tmp_path / folder,
            ignore=shutil.ignore_patterns("weights", "__pycache__"),
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    planted = {
        "app may import ml, ml never app": ("ml/images/roi.py", "import app.settings"),
        "ml knows nothing of the web or the database": (
            "ml/dataset/manifest.py",
            "import sqlalchemy",
        ),
        "the staircase of app": ("app/db.py", "import app.responses"),
        "serving reaches no torch": ("ml/checkpoints/serving.py", "import torch"),
        "a finished run is reported again on the base install": (
            "ml/experiment/evaluation.py",
            "import ml.experiment.perform",
        ),
        "tasks are shared, timed and released without torch": (
            "ml/experiment/clock.py",
            "import ml.training.runtime",
        ),
        "only these import torch": ("ml/statistics/mrmc.py", "import torch"),
        "data sets are prepared and read without torch": (
            "ml/dataset/augment.py",
            "import ml.training.networks.cnn",
        ),
        "the staircase of the models": (
            "app/models/ground/event.py",
            "import app.models.cases.case",
        ),
        "the staircase of ground": ("app/models/ground/blob.py", "import app.models.ground.event"),
        "the staircase of people": ("app/models/people/user.py", "import app.models.people.token"),
        "the staircase of cases": ("app/models/cases/dates.py", "import app.models.cases.case"),
        "the staircase of uploads": ("app/uploads/wire.py", "import app.uploads.processes"),
        "what reads files knows nothing of the web, the database or the settings": (
            "app/uploads/opening.py",
            "import app.settings",
        ),
        "no door opens an upload itself": ("app/node/storing.py", "import app.uploads.opening"),
        "the staircase of objects": ("app/objects/said.py", "import app.objects.report"),
        "the staircase of the node": ("app/node/line.py", "import app.node.node"),
        "the staircase of pacs": ("app/pacs/line.py", "import app.pacs.client"),
        "the staircase of dicomweb": ("app/dicomweb/held.py", "import app.dicomweb.finding"),
        "the staircase of jobs": ("app/jobs/hooks.py", "import app.jobs.clerk"),
        "the staircase of the jobs' models": (
            "app/models/jobs/job.py",
            "import app.models.jobs.notice",
        ),
        "the staircase of operation": (
            "app/operation/contents.py",
            "import app.operation.backup",
        ),
        "the staircase of runs": (
            "app/models/runs/known_lesions.py",
            "import app.models.runs.run",
        ),
        "the staircase of reader studies": (
            "app/models/reader_studies/design.py",
            "import app.models.reader_studies.desk",
        ),
        "the staircase of study results": (
            "app/models/study_results/answers.py",
            "import app.models.study_results.results",
        ),
        "the staircase of monitoring": (
            "app/models/monitoring/scope.py",
            "import app.models.monitoring.tables",
        ),
        "the staircase of erasures": (
            "app/models/erasures/extent.py",
            "import app.models.erasures.erasure",
        ),
        "the staircase of study plans": (
            "app/models/study_plans/power.py",
            "import app.models.study_plans.asked",
        ),
        "routes do not import each other": ("app/routes/cases.py", "import app.routes.users"),
        "the staircase of ml": ("ml/lesion.py", "import ml.images.roi"),
        "the staircase of ml.ground": ("ml/ground/errors.py", "import ml.ground.records"),
        "the staircase of ml.images": ("ml/images/greys.py", "import ml.images.roi"),
        "the staircase of ml.dataset": ("ml/dataset/copies.py", "import ml.dataset.prepare"),
        "the staircase of ml.marks": ("ml/marks/region.py", "import ml.marks.report"),
        "the staircase of ml.phantom": ("ml/phantom/patient.py", "import ml.phantom.series"),
        "the staircase of pasted lesions": (
            "ml/experiment/tissue/grain.py",
            "import ml.experiment.tissue.pasting",
        ),
        "the staircase of ml.checkpoints": (
            "ml/checkpoints/checkpoint.py",
            "import ml.checkpoints.serving",
        ),
        "the staircase of the card": (
            "ml/checkpoints/card/entry.py",
            "import ml.checkpoints.card.making",
        ),
        "the staircase of ml.trust": ("ml/trust/themes.py", "import ml.trust.opinion"),
        "the staircase of ml.training": (  # for an annotation alone
            "ml/training/runtime.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import ml.training.gan",
        ),
        "the staircase of ml.statistics": ("ml/statistics/exact.py", "import ml.statistics.power"),
        "the staircase of ml.readers": ("ml/readers/results.py", "import ml.readers.analysis"),
        "the staircase of ml.leak_audit": ("ml/leak_audit/places.py", "import ml.leak_audit.audit"),
        "the staircase of ml.experiment": ("ml/experiment/arms.py", "import ml.experiment.run"),
        "the staircase of learning curves": (
            "ml/experiment/curve/cohorts.py",
            "import ml.experiment.curve.cells",
        ),
        "the staircase of ml.experiment.results": (
            "ml/experiment/results/scores.py",
            "import ml.experiment.results.origin",
        ),
    }
    names = set(re.findall(r'^name = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.M))
    assert names - {"hepatica"} == set(planted)
    for path, line in planted.values():
        with (tmp_path / path).open("a") as module:
            module.write(f"\n{line}\n")
    lint = Path(sys.executable).with_name("lint-imports")
    told = subprocess.run([lint, "--no-cache"], cwd=tmp_path, capture_output=True, text=True)
    for name in planted:
        assert f"{name} BROKEN" in told.stdout, told.stdout[-3000:]


def test_no_room_of_the_routes_is_left_out_of_their_contract():
    text = (ROOT / "pyproject.toml").read_text("utf-8").partition("routes do not import")[2]
    rooms = {path.stem for path in (ROOT / "app/routes").iterdir()} - {"__init__", "__pycache__"}
    assert set(re.findall(r'"app\.routes\.(\w+)"', text)) == rooms


def test_no_file_is_decoded_but_by_the_process_for_it():
    """But for a small picture of nothing but pixels (`ml.images.picture.is_plain`), of the API, and
    the simulated images of the demo."""
    decodes = re.compile(
        r"\bdicom\.(read|read_frame|each|opened|parsed)\b|\bpicture\.read\b|\breading\.(read|of)\b"
        r"|\bImage\.open\b|\bdcmread\b|\bopening\.opened\b|(jpeg\w*|png|jxl)_decode"
    )
    found = {
        str(path.relative_to(ROOT)): len(decodes.findall(path.read_text("utf-8")))
        for path in sources("app")
    }
    assert {path: count for path, count in found.items() if count} == {
        "app/uploads/opening.py": 3,
        "app/uploads/decoder.py": 4,
        "app/routes/api/classifications.py": 1,
        "app/demo.py": 1,
    }


def test_ml_has_no_more_rooms_than_a_newcomer_finds():
    parts = (ROOT / "ml").iterdir()
    rooms = {one.stem for one in parts if one.suffix == ".py" or (one / "__init__.py").exists()}
    assert len(rooms - {"__init__", "__main__"}) <= 15, rooms


def test_every_refusal_of_ml_stands_in_the_tree_of_its_errors():
    """In ``ml/ground/errors.py``, or in the module's own docstring where a branch has several."""
    tree = ast.get_docstring(ast.parse((ROOT / "ml/ground/errors.py").read_text("utf-8")))
    found = 0
    for path in sources("ml"):
        module = ast.parse(path.read_text("utf-8"))
        for node in module.body:
            bases = {getattr(base, "id", "") for base in getattr(node, "bases", ())}
            if isinstance(node, ast.ClassDef) and any(
                base.endswith(("Error", "Image")) for base in bases
            ):
                told = f"{tree} {ast.get_docstring(module)}"
                assert node.name.startswith("_") or re.search(rf"\b{node.name}\b", told), node.name
                found += 1
    assert found > 20


def test_no_module_of_a_page_is_left_over():
    """Every script is loaded by a template or imported by another script."""
    scripts = {path.name for path in (ROOT / "static/js").rglob("*.js")}
    pages = [path for folder in ("templates", "static/js", "app")
             for path in (ROOT / folder).rglob("*.*")]  # fmt: skip
    texts = [path.read_text("utf-8") for path in pages if path.suffix in (".html", ".js", ".py")]
    used = {name for name in scripts if any(re.search(rf"[/'\"]{name}", text) for text in texts)}
    assert scripts == used


def bare_json(modules: dict[str, str]) -> list[str]:
    """Where these modules, name → text, write ``dict[str, Any]``, or a name that stands for it.

    A name stands for it where a module says so, ``Item = dict[str, Any]``, or of another such name,
    and where it is imported from there.
    """
    trees = {module: ast.parse(text).body for module, text in modules.items()}
    names: dict[str, set[str]] = {module: set() for module in modules}
    known = -1
    while known < sum(map(len, names.values())):
        known = sum(map(len, names.values()))
        for module, body in trees.items():
            for node in body:
                if isinstance(node, ast.ImportFrom):
                    theirs = names.get(node.module or "", set())
                    names[module] |= {a.asname or a.name for a in node.names if a.name in theirs}
                elif found := alias_in(node, names[module]):
                    names[module].add(found)
    return [
        f"{module}:{number}"
        for module, text in modules.items()
        for number, line in enumerate(text.splitlines(), 1)
        if re.search(rf"dict\[str, Any\]|\b({'|'.join(names[module] or ['(?!)'])})\b", line)
        and not line.startswith("from ")
    ]


def alias_in(node: ast.stmt, known: set[str]) -> str | None:
    """The name that a statement gives to JSON without types; None where it gives none.

    Args:
        known: names of it until now.
    """
    match node:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            pass
        case ast.AnnAssign(ast.Name(id=name), ast.Name(id="TypeAlias"), value=value):
            pass
        case _:
            return None
    if not isinstance(value, ast.Name | ast.Subscript | ast.BinOp):  # what a type can be
        return None
    parts = {ast.unparse(part) for part in ast.walk(value)}
    return name if parts & {"dict[str, Any]", *known} else None


def test_json_without_types_stays_at_the_borders():
    """A row, a file, an answer, a form: behind these everything has a type of its own."""
    planted = {
        "a.one": "Item = dict[str, Any]\nItems = list[Item] | None\nTable = dict[str, str]\n",
        "a.two": "from a.one import Items as Kept, Table\ndef f(x: Kept) -> Table: ...\n",
        "a.three": "def g(Item: int) -> dict[str, Any]: ...\nOne: TypeAlias = dict[str, Any]\n",
    }
    assert bare_json(planted) == ["a.one:1", "a.one:2", "a.two:2", "a.three:1", "a.three:2"]
    modules = {}
    for path in sources("app", "ml"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        modules[name] = path.read_text("utf-8")
    found = bare_json(modules)
    assert len(found) < 60, found
