"""Where templates, static files and migrations lie, which are no Python.

Beside the packages in a working tree and in an editable installation; within ``app`` where a wheel
was installed (``[tool.setuptools]`` in pyproject.toml puts them there).
"""

from __future__ import annotations

from pathlib import Path

from alembic.config import Config

_HERE = Path(__file__).resolve().parent
ROOT = _HERE if (_HERE / "templates").is_dir() else _HERE.parent


def migrations() -> Config:
    """Alembic, told where the migrations are."""
    configuration = Config()
    # Alembic reads % as the beginning of a variable
    folder = str(ROOT / "migrations").replace("%", "%%")
    configuration.set_main_option("script_location", folder)
    return configuration
