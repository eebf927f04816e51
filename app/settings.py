"""Deployment settings, read from the environment (``HEPATICA_*``) and nowhere else."""

from __future__ import annotations

import os
import secrets
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

try:
    VERSION = version("hepatica")
except PackageNotFoundError:  # run from a source tree that was never installed
    VERSION = "0+source"


class Settings(BaseSettings):
    """One installation. Every field can be set as ``HEPATICA_<NAME>``.

    The numbers of experiments are not here: they live in ``ml.config``.
    """

    model_config = SettingsConfigDict(env_prefix="HEPATICA_", extra="ignore")

    database_url: str = Field(
        "sqlite:///var/hepatica.sqlite3",
        description="SQLAlchemy address; SQLite or postgresql+psycopg.",
    )
    host: str = Field("127.0.0.1", description="Address that `serve` listens on.")
    port: int = Field(8000, ge=1, le=65535, description="Port that `serve` listens on.")
    workers: int = Field(1, ge=1, description="Web processes.")
    installation_key: str = Field(
        "",
        description="Secret of this installation, at least 32 characters; keys the HMAC of "
        "PatientID. Empty: made once and kept in `installation_key_file`.",
    )
    installation_key_file: Path = Field(
        Path("var/installation.key"),
        description="Where the generated installation key is kept (mode 600). Keep it with the "
        "backups: without it a patient's new examinations no longer match the old ones.",
    )
    public_origin: str = Field(
        "",
        description="Origin that browsers see, such as https://hepatica.example.org, when a "
        "proxy stands in front. Empty: taken from the request.",
    )
    secure_cookies: bool = Field(
        False, description="Mark cookies Secure (set it wherever HTTPS is in front)."
    )
    session_hours: float = Field(12.0, gt=0, description="How long a sign-in lasts, in hours.")
    review_first: bool = Field(
        True,
        description="Cover a lesion's score until the signed-in person has given their own class.",
    )
    max_upload_mb: float = Field(
        256.0, gt=0, description="Largest request body in MB; more is refused with 413."
    )
    max_unpacked_mb: float = Field(
        1024.0, gt=0, description="Largest unpacked size of a zip in MB; more is refused."
    )
    max_decoded_mpx: float = Field(
        1024.0,
        gt=0,
        description="Most pixels of one upload, in millions, all files and frames together; "
        "1024 are some 3,900 slices of 512 × 512.",
    )
    max_upload_files: int = Field(2000, ge=1, description="Most files in one upload or zip.")
    inference_threads: int = Field(
        1, ge=1, description="Threads that one ONNX Runtime call may use."
    )
    runs_dir: Path = Field(
        Path("var/runs"),
        description="Scratch folder of this installation's workers; those that share it resume "
        "each other's runs.",
    )
    development: bool = Field(
        False, description="Show /patterns, the catalogue of page components."
    )
    token_cache_s: float = Field(
        5.0,
        ge=0,
        description="Seconds for which a checked API token is trusted without asking the "
        "database again; a revoked token works at most this long.",
    )

    def key(self) -> bytes:
        """The installation's secret; made on first use when none is set.

        Raises:
            ValueError: a key was set that is shorter than 32 characters.
        """
        if self.installation_key:
            if len(self.installation_key) < 32:
                raise ValueError("HEPATICA_INSTALLATION_KEY must have at least 32 characters.")
            return self.installation_key.encode()
        path = self.installation_key_file
        path.parent.mkdir(parents=True, exist_ok=True)
        try:  # O_EXCL: of several processes that start at once, one writes and the others read
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return path.read_bytes().strip()
        with os.fdopen(descriptor, "wb") as stream:
            key = secrets.token_hex(32).encode()
            stream.write(key)
        return key


@lru_cache
def settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
