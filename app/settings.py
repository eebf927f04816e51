"""Deployment settings, read from the environment (``HEPATICA_*``) and nowhere else."""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
import tempfile
from difflib import get_close_matches
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.roles import ROLES

try:
    VERSION = version("hepatica")
except PackageNotFoundError:  # run from a source tree that was never installed
    VERSION = "0+source"


KEY_CHARACTERS = 32
"""Fewest characters of an installation key."""


DOOR_WORDS = ("return-results", "shift-dates", "refuse-burned-in")
"""The terms of a door (`app.models.cases.entry.Term` says what each means)."""
MOST_WORKERS = 256
"""Web processes, and threads of a network, at most: a number that was typed wrongly must not fill
the machine."""
_MOST_MB = 1e9
_DOOR = f": none, or of {', '.join(DOOR_WORDS)}, with commas between."


_LABEL = "[a-z0-9_]([a-z0-9_-]*[a-z0-9])?"
_HOST = rf"{_LABEL}(\.{_LABEL})*"
"""A name of a host, or an address of IPv4, in lower case."""
_DRIVERS = frozenset({"sqlite", "sqlite+pysqlite", "postgresql", "postgresql+psycopg"})


def _is_ipv6(text: str) -> bool:
    try:
        return bool(ipaddress.IPv6Address(text))
    except ValueError:
        return False


OWN_PATHS = frozenset(
    {
        "account", "api", "cases", "checkpoints", "datasets", "dicomweb", "docs", "erasures",
        "fetches", "guide", "health", "images", "launch", "lesions", "measures", "metrics",
        "monitoring", "openapi.json", "patterns", "pixels", "reader-studies", "readings",
        "returns", "runs", "sessions", "static", "status", "synthetics", "tokens", "users",
    }
)  # fmt: skip
"""What the application's own addresses begin with; no prefix of a host can."""


class KeyRefused(Exception):
    """The installation key is missing where it was, too short, or another one than before."""


class Settings(BaseSettings):
    """One installation. Every field can be set as ``HEPATICA_<NAME>``.

    The numbers of experiments are not here: they live in ``ml.config``.
    """

    model_config = SettingsConfigDict(
        env_prefix="HEPATICA_", extra="ignore", allow_inf_nan=False, hide_input_in_errors=True
    )

    database_url: str = Field(
        "sqlite:///var/hepatica.sqlite3",
        description="SQLAlchemy address; SQLite or postgresql+psycopg.",
    )
    host: str = Field("127.0.0.1", description="Address that `serve` listens on.")
    port: int = Field(8000, ge=1, le=65535, description="Port that `serve` listens on.")
    workers: int | None = Field(
        None,
        ge=1,
        le=MOST_WORKERS,
        description="Web processes. None: one for each core that they may use, at most 4.",
    )
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
        description="Origin that browsers see, such as https://hepatica.example.org. Set, other "
        "names of this server are refused (its addresses and localhost are not); with https, "
        "cookies are Secure and browsers are told to use HTTPS only.",
    )
    hosts: str = Field(
        "",
        description="Further names, separated by commas, under which this server may be asked, "
        "such as that by which a monitoring system reaches it; then, too, others are refused.",
    )
    root_path: str = Field(
        "",
        description="Where the installation lies below its host, such as /hepatica: every link, "
        "redirect and cookie stays within it. Empty: at the root.",
    )
    proxies: str = Field(
        "",
        description="Addresses or networks of the proxies in front, separated by commas: they "
        "alone are believed in X-Forwarded-For and X-Forwarded-Proto. Empty: this machine's own "
        "(127.0.0.1, ::1).",
    )
    secure_cookies: bool = Field(
        False,
        description="Mark cookies Secure although `HEPATICA_PUBLIC_ORIGIN` does not begin with "
        "https.",
    )
    session_hours: float = Field(
        12.0, gt=0, le=24 * 366, description="How long a sign-in lasts at most, in hours."
    )
    session_idle_hours: float = Field(
        2.0, gt=0, le=24 * 366, description="After how many hours without use a sign-in ends."
    )
    totp_roles: str = Field(
        "",
        description="Roles that must have an authenticator app (TOTP), with commas between, such "
        "as admin,researcher. An account of theirs without one is led to set it up and can do "
        "nothing else; accounts of an identity provider are asked there. Empty: nobody must.",
    )
    review_first: bool = Field(
        True,
        description="Cover a lesion's score until the signed-in person has given their own class.",
    )
    max_upload_mb: float = Field(
        256.0,
        gt=0,
        le=_MOST_MB,
        description="Largest upload in one request in MB; more is refused with 413. Whatever is "
        "no upload may have 2 MB.",
    )
    max_unpacked_mb: float = Field(
        1024.0,
        gt=0,
        le=_MOST_MB,
        description="Largest unpacked size of a zip in MB; more is refused.",
    )
    max_decoded_mpx: float = Field(
        1024.0,
        gt=0,
        le=_MOST_MB,
        description="Most pixels of one upload, in millions, all files and frames together; "
        "1024 are some 3,900 slices of 512 × 512.",
    )
    max_decoding_mb: float = Field(
        1500.0,
        ge=100,
        le=_MOST_MB,
        description="Most memory of the process that reads an upload, in MB, beyond what it has "
        "when it begins; a file that takes more is refused.",
    )
    max_upload_files: int = Field(
        2000, ge=1, le=1_000_000, description="Most files in one upload or zip."
    )
    inference_threads: int = Field(
        1, ge=1, le=MOST_WORKERS, description="Threads that one ONNX Runtime call may use."
    )
    set_level: float = Field(
        0.9,
        description="Level of prediction sets: how often the true class is to be among the classes "
        "that are not excluded. One of those at which coverage is measured: 0.8, 0.85, 0.9, 0.95, "
        "0.99.",
    )
    runs_dir: Path = Field(
        Path("var/runs"),
        description="Scratch folder of this installation's workers; those that share it resume "
        "each other's runs.",
    )
    clerk: bool = Field(
        True,
        description="Do jobs, tell hooks their end and return results in the web processes; "
        "False: only `python -m app clerk` does.",
    )
    hooks_file: Path | None = Field(
        None,
        description="TOML file of the hooks that may be told the end of a job; None: there are "
        "none.",
    )
    jobs_kept_days: float = Field(
        7.0, gt=0, le=366, description="How long a job and its result are kept after its end."
    )
    keep_cases_days: float = Field(
        0.0,
        ge=0,
        le=36_525,
        description="Days after its upload from which a case is deleted, but for those that a "
        "frozen data set or a reader study has; 0: never.",
    )
    keep_pictures_days: float = Field(
        0.0,
        ge=0,
        le=36_525,
        description="Days after its unblinding from which a reader study loses its pictures and "
        "keeps its answers and numbers; 0: never.",
    )
    deletions_file: Path = Field(
        Path("var/deletions.jsonl"),
        description="The register of deletions, by which `restore` deletes again what a backup "
        "brings back. Keep a copy with the installation key.",
    )
    answers_kept_hours: float = Field(
        24.0,
        gt=0,
        le=24 * 31,
        description="How long the answer to a call with an Idempotency-Key is kept.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="What is logged: this and what is worse. Each request is at info."
    )
    log_format: Literal["auto", "json", "words"] = Field(
        "auto",
        description="Lines of the log on standard error: json (one object each), words, or auto: "
        "words on a terminal, else json.",
    )
    development: bool = Field(
        False, description="Show /patterns, the catalogue of page components."
    )
    token_cache_s: float = Field(
        5.0,
        ge=0,
        le=3600,
        description="Seconds for which a checked API token is trusted without asking the "
        "database again; a revoked token works at most this long.",
    )
    pacs: str = Field(
        "",
        description="The PACS that may be asked and answered: the path of a TOML file with a table "
        "`[[pacs]]` for each, or such a list as JSON. Empty: none is.",
    )

    door_upload: str = Field("", description="On which terms uploads come in" + _DOOR)
    door_stow: str = Field("", description="The same of what is sent to /dicomweb" + _DOOR)
    door_pull: str = Field("", description="The same of what is fetched from a PACS" + _DOOR)
    door_node: str = Field("", description="The same of what the DICOM node is sent" + _DOOR)

    node_callers: str = Field(
        "",
        description="Who may send to the DICOM node: AE titles with commas between, each with "
        "the address or network that it comes from where that is known, such as "
        "ORTHANC@10.0.0.7,CT1. Empty: nobody.",
    )
    node_associations: int = Field(
        8, ge=1, le=64, description="Most associations of the DICOM node at the same moment."
    )

    series_quiet_s: float = Field(
        60.0,
        gt=0,
        le=86_400,
        description="Seconds without a new image or mark after which a series is complete.",
    )
    classify_quiet_series: bool = Field(
        False,
        description="Classify what DICOM objects marked in a series once it is complete, without "
        "being asked.",
    )
    marks_wait_days: float = Field(
        90.0,
        gt=0,
        le=3650,
        description="Days for which the marks of a DICOM object wait for their images; then they "
        "go, which is an Event, and the object can be sent again.",
    )

    audit_syslog: str = Field(
        "",
        description="Where the audit trail is sent as DICOM audit messages over TLS (RFC 5425), as "
        "HOST:PORT. Empty: nowhere.",
    )
    audit_syslog_ca: Path | None = Field(
        None,
        description="Certificates (PEM) that its certificate is checked by; None: those that this "
        "system trusts.",
    )
    audit_syslog_certificate: Path | None = Field(
        None,
        description="Certificate and key (PEM, one file) to show to a receiver that asks; None: "
        "none.",
    )

    oidc_issuer: str = Field(
        "",
        description="Address of the OpenID provider whose accounts people may sign in with; its "
        "configuration is read from there. Empty: none. It needs HEPATICA_PUBLIC_ORIGIN.",
    )
    oidc_client_id: str = Field("", description="What this installation is called there.")
    oidc_client_secret_file: Path | None = Field(
        None, description="File with its secret there; None: a public client."
    )
    oidc_roles: str = Field(
        "",
        description="Which groups may do what, as GROUP=role with semicolons between; the highest "
        "counts, whoever is in none is not let in.",
    )
    oidc_groups_claim: str = Field(
        "groups", description="Claim that tells the groups, such as realm_access.roles."
    )
    oidc_name_claim: str = Field(
        "preferred_username", description="Claim that tells what the account is called."
    )
    oidc_label: str = Field(
        "Sign in with your hospital account", description="What the button says."
    )
    oidc_ca: Path | None = Field(
        None,
        description="Certificates (PEM) that the provider's is checked by; None: those that this "
        "system trusts.",
    )

    @model_validator(mode="after")
    def _no_misspelt(self) -> Settings:
        """A variable whose name is nearly a setting's would leave that at its default in silence.

        Others may begin as ours do: secrets that an entry names, addresses that Kubernetes sets.
        """
        known = list(type(self).model_fields)
        for told in os.environ:
            name = told.upper().removeprefix("HEPATICA_").lower()
            if len(name) == len(told) or name in known:
                continue
            if near := get_close_matches(name, known, 1, cutoff=0.8):
                raise ValueError(
                    f"HEPATICA_{near[0].upper()} is a setting, and {told} is none. Mend the "
                    "name, or call what it is for something else."
                )
        return self

    @field_validator("host")
    @classmethod
    def _an_address(cls, value: str) -> str:
        """An address or a name: nothing at all would be every address of the machine."""
        if not value.strip():
            raise ValueError(
                "HEPATICA_HOST, or --host, is empty. Name the address to listen on, such as "
                "127.0.0.1, or 0.0.0.0 for every one of this machine."
            )
        return value.strip()

    @field_validator("set_level")
    @classmethod
    def _measured(cls, value: float) -> float:
        """A level at which checkpoints know how often their sets are right."""
        from ml.trust.conformal import LEVELS  # NumPy, which most commands do not need

        if value not in LEVELS:
            raise ValueError(
                f"HEPATICA_SET_LEVEL is {value:g}, and coverage is measured at "
                f"{', '.join(f'{one:g}' for one in LEVELS)}. Choose one of these."
            )
        return value

    @field_validator("audit_syslog")
    @classmethod
    def _a_receiver(cls, value: str) -> str:
        """HOST:PORT, and nothing else."""
        found = re.fullmatch(rf"(\[[0-9a-fA-F:]+\]|{_HOST}):([0-9]{{1,5}})", value.lower())
        if value and not (found and 1 <= int(found[found.lastindex or 0]) <= 65535):
            raise ValueError(
                f"HEPATICA_AUDIT_SYSLOG is {value!r}; write it as HOST:PORT, such as "
                "syslog.example.org:6514."
            )
        return value

    @field_validator("totp_roles")
    @classmethod
    def _roles(cls, value: str) -> str:
        """Roles that there are."""
        named = [one.strip() for one in value.split(",") if one.strip()]
        for one in named:
            if one not in ROLES:
                raise ValueError(
                    f"HEPATICA_TOTP_ROLES names {one!r}; a role is one of {', '.join(ROLES)}."
                )
        return ",".join(named)

    @field_validator("node_callers")
    @classmethod
    def _titles(cls, value: str) -> str:
        """AE titles of 1 to 16 letters, each with an address or network, or without."""
        named = [item.strip() for item in value.split(",") if item.strip()]
        for item in named:
            title, at, network = item.partition("@")
            fits = re.fullmatch(r"[^\\;\"']{1,16}", title.strip()) and title.isascii()
            if not fits:
                raise ValueError(
                    f"HEPATICA_NODE_CALLERS names {item!r}, which is no AE title of 1 to 16 "
                    "letters, nor one with an address, such as ORTHANC@10.0.0.7."
                )
            try:
                if at:
                    ipaddress.ip_network(network.strip(), strict=False)
            except ValueError:
                raise ValueError(
                    f"HEPATICA_NODE_CALLERS names {item!r}, whose part after @ is no address or "
                    "network such as 10.0.0.7 or 10.0.0.0/24."
                ) from None
        return ",".join(re.sub(r"\s*@\s*", "@", item) for item in named)

    @field_validator("door_upload", "door_stow", "door_pull", "door_node")
    @classmethod
    def _allowances(cls, value: str) -> str:
        """Words that are known, without doubles."""
        named = list(dict.fromkeys(item.strip() for item in value.split(",") if item.strip()))
        for item in named:
            if item not in DOOR_WORDS:
                raise ValueError(
                    f"a door's setting (HEPATICA_DOOR_…) holds {item!r}. It can hold "
                    f"{', '.join(DOOR_WORDS)}, with commas between, or nothing."
                )
        return ",".join(named)

    @field_validator("public_origin")
    @classmethod
    def _an_origin(cls, value: str) -> str:
        """Scheme and host, in lower case and without a slash at the end."""
        if not value.strip():
            return ""
        parts = urlsplit(value.strip())
        bare = parts.path in ("", "/") and not (parts.query or parts.fragment)
        try:
            host = (parts.hostname or "").encode("idna").decode()  # as browsers send it
            port = "" if parts.port is None else f":{parts.port}"
        except (UnicodeError, ValueError):
            host = port = ""
        at = "@" in parts.netloc
        named = re.fullmatch(_HOST, host) or _is_ipv6(host)
        if parts.scheme not in ("http", "https") or not bare or at or not named:
            raise ValueError(
                "HEPATICA_PUBLIC_ORIGIN must be such as https://hepatica.example.org: "
                "http or https, the host, a port where it is not the usual one, and no path "
                "(HEPATICA_ROOT_PATH is for that)."
            )
        return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"

    @field_validator("database_url")
    @classmethod
    def _a_database(cls, value: str) -> str:
        """An address of SQLite, or of PostgreSQL by psycopg; a secret only where it is hidden."""
        from sqlalchemy import make_url  # which most commands need, and some do not
        from sqlalchemy.exc import ArgumentError

        try:
            found = make_url(value.strip())
        except (ArgumentError, ValueError):
            found = None
        if found is None or found.drivername not in _DRIVERS:
            raise ValueError(
                "HEPATICA_DATABASE_URL is no address of a database that is used here, such as "
                "sqlite:///var/hepatica.sqlite3 or postgresql+psycopg://user@host/name; it is not "
                "told here, since a password may stand in it."
            )
        if secret := {"password", "sslpassword"} & set(found.query):
            raise ValueError(
                f"HEPATICA_DATABASE_URL has {' and '.join(sorted(secret))} among its parameters, "
                "where logs and other accounts can see it. Write the password before the host "
                "(postgresql+psycopg://user:password@host/name), or into a file (passfile)."
            )
        return value.strip()

    @field_validator("hosts")
    @classmethod
    def _names(cls, value: str) -> str:
        """Names of hosts in lower case, without scheme, port or path; no pattern."""
        named = [item.strip().lower() for item in value.split(",") if item.strip()]
        for item in named:
            if not re.fullmatch(_HOST, item):
                raise ValueError(
                    f"HEPATICA_HOSTS names {item!r}, which is no name of a host such as web or "
                    "hepatica.example.org. Leave out scheme, port and path."
                )
        return ",".join(named)

    @field_validator("root_path")
    @classmethod
    def _a_prefix(cls, value: str) -> str:
        """A path that needs no escaping, without a slash at the end; "" for the root."""
        path = value.strip().rstrip("/")
        if not re.fullmatch(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*", path):
            raise ValueError(
                f"HEPATICA_ROOT_PATH is {value!r}. Write it as a path such as /hepatica, of "
                "letters, digits and -._~, or leave it empty."
            )
        first = path.split("/")[1] if path else ""
        if first in OWN_PATHS:
            raise ValueError(
                f"HEPATICA_ROOT_PATH is {path}, and /{first} is an address of the application "
                "itself: one could not be told from the other. Choose another, such as /hepatica."
            )
        return path

    @field_validator("proxies")
    @classmethod
    def _addresses(cls, value: str) -> str:
        """Addresses and networks only: everybody as a proxy could call themselves anything."""
        named = [item.strip() for item in value.split(",") if item.strip()]
        for item in named:
            try:
                ipaddress.ip_network(item, strict=False)
            except ValueError:
                raise ValueError(
                    f"HEPATICA_PROXIES names {item!r}, which is no address or network such as "
                    "10.0.0.7 or 10.0.0.0/24."
                ) from None
        return ",".join(named)

    def but(self, **options: object) -> Settings:
        """The same with what a command line says instead, held to the same bounds; None: nothing.

        Raises:
            ValidationError: it is out of them.
        """
        said = {name: value for name, value in options.items() if value is not None}
        return self.model_validate({**self.model_dump(), **said})

    @property
    def second_step_roles(self) -> frozenset[str]:
        """The roles that must have an authenticator app."""
        return frozenset(filter(None, self.totp_roles.split(",")))

    @property
    def https(self) -> bool:
        """Whether people reach this installation over HTTPS, as far as the settings say."""
        return self.secure_cookies or self.public_origin.startswith("https://")

    @property
    def public_root(self) -> str:
        """What whole addresses of this installation begin with; no host where none is set."""
        return self.public_origin + self.root_path

    @property
    def names(self) -> frozenset[str]:
        """The names under which people and programs ask; none where every name will do."""
        public = urlsplit(self.public_origin).hostname or ""
        return frozenset({public, *self.hosts.split(",")} - {""})

    @property
    def has_key(self) -> bool:
        """Whether there is an installation key already: ``key`` would make none."""
        return bool(self.installation_key) or self.installation_key_file.exists()

    def key(self) -> bytes:
        """The installation's secret; made on first use when none is set.

        Raises:
            KeyRefused: the key has fewer than 32 characters, or cannot be read or made.
        """
        if self.installation_key:
            given = self.installation_key.encode("utf-8", "surrogateescape")
            return _long_enough(given, "HEPATICA_INSTALLATION_KEY")
        path = self.installation_key_file
        try:
            if not path.exists():
                _make_key(path)
            kept = path.read_bytes().strip()
        except OSError as error:
            raise KeyRefused(
                f"The installation key {path} can be neither read nor made ({error.strerror}). "
                "Mend the folder, name another with HEPATICA_INSTALLATION_KEY_FILE, or set "
                "HEPATICA_INSTALLATION_KEY."
            ) from error
        return _long_enough(kept, f"The installation key {path}")


def _long_enough(key: bytes, what: str) -> bytes:
    length = len(key.strip())
    if length < KEY_CHARACTERS:
        raise KeyRefused(
            f"{what} has {length} characters; a key has at least {KEY_CHARACTERS}. "
            "Restore the one that this installation had. Only for a new installation: make one "
            "with `openssl rand -hex 32`, or delete the file and it is made anew."
        )
    return key


def _make_key(path: Path) -> None:
    """Put a new key at ``path``, whole or not at all; another process's is left as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 600
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(secrets.token_hex(32))
            stream.flush()
            os.fsync(stream.fileno())
        try:
            os.link(name, path)  # unlike a rename, a link replaces nothing
        except FileExistsError:
            return
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        Path(name).unlink()


def variable(name: str) -> str:
    """A variable of the environment that a setting names; "" where it is not set."""
    return os.environ.get(name, "")


def plain_environment() -> dict[str, str]:
    """What a process gets that must know nothing of this installation: no key, no address."""
    names = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ")
    return {name: os.environ[name] for name in names if name in os.environ}


@lru_cache
def settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
