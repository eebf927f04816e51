"""The PACS that the setting ``HEPATICA_PACS`` names, each with what its entry says.

The setting is the path of a TOML file with a table ``[[pacs]]`` for each, or such a list as JSON,
beginning with ``[``. Passwords and tokens stand in files of their own, in variables of the
environment that an entry names, or in the entry itself.
"""

from __future__ import annotations

import json
import re
import ssl
import tomllib
from base64 import b64encode
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from app.errors import NotFound
from app.settings import Settings, variable
from ml.ground.errors import reason
from ml.images.ct_slice import MAX_FILE_BYTES

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_SECRETS = ("password", "password_file", "password_variable", "token", "token_file",
            "token_variable")  # fmt: skip
_Aet = Annotated[str, StringConstraints(pattern=r"^[ -\[\]-~]{1,16}$")]  # PS3.5 6.2: no backslash


class PacsRefused(Exception):
    """An entry of ``HEPATICA_PACS`` cannot be used; the message names entry and field."""


class PacsSettings(BaseModel):
    """One PACS: where its DICOMweb is, how to be let in, and how long and how much may be waited.

    Attributes:
        name: what people and programs call it here.
        url: of DICOMweb, ``https://host[:port]/path``; QIDO-RS, WADO-RS and STOW-RS lie under it.
        user, password: of HTTP Basic; the password may come from a file or a variable instead.
        token: of ``Authorization: Bearer``; likewise.
        ca_bundle: certificates (PEM) that are trusted, instead of the system's.
        connect_s: how long reaching it may take.
        read_s: how long it may be silent.
        total_s: how long one request may take in all, the body of its answer included.
        max_instance_mb: largest instance that is fetched.
        max_study_mb, max_instances: most that is fetched for one request of a person or program.
        aet, dicom_host, dicom_port: its DICOM server, where it has one.
        own_aet: what this installation calls itself there.
        takes_results: whether results may be sent to it (`app.pacs.outbox`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str
    url: str
    user: str = ""
    password: SecretStr = SecretStr("")
    password_file: Path | None = None
    password_variable: str = ""
    token: SecretStr = SecretStr("")
    token_file: Path | None = None
    token_variable: str = ""
    ca_bundle: Path | None = None
    connect_s: float = Field(10.0, gt=0, le=120, strict=True)
    read_s: float = Field(30.0, gt=0, le=3600, strict=True)
    total_s: float = Field(300.0, gt=0, le=86_400, strict=True)
    max_instance_mb: float = Field(MAX_FILE_BYTES / 1e6, gt=0, le=MAX_FILE_BYTES / 1e6, strict=True)
    max_study_mb: float = Field(4096.0, gt=0, strict=True)
    max_instances: int = Field(5000, ge=1, strict=True)
    aet: _Aet | None = None
    dicom_host: str = ""
    dicom_port: int = Field(104, ge=1, le=65535, strict=True)
    own_aet: _Aet = "HEPATICA"
    takes_results: bool = Field(False, strict=True)

    @field_validator("name")
    @classmethod
    def _a_word(cls, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise ValueError("it may have 1 to 40 small letters, digits and hyphens")
        return value

    @field_validator("url")
    @classmethod
    def _an_address(cls, value: str) -> str:
        """Without a slash at the end: paths are put behind it."""
        parts = urlsplit(value.strip())
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("it must be such as https://pacs.example.org/dicom-web")
        if parts.username is not None or parts.password is not None:
            raise ValueError("user and password have fields of their own; take them out of it")
        if parts.query or parts.fragment:
            raise ValueError("it can have no ? and no #")
        if not value.isascii() or re.search(r"\s", value.strip()):
            raise ValueError("it may hold ASCII characters only, and no space")
        try:
            port = parts.port
        except ValueError:
            raise ValueError("its port is no number from 1 to 65535") from None
        if port == 0:
            raise ValueError("its port is no number from 1 to 65535")
        path = re.sub("/{2,}", "/", parts.path).rstrip("/")
        return f"{parts.scheme}://{parts.netloc.lower()}{path}"

    @field_validator("ca_bundle")
    @classmethod
    def _certificates(cls, value: Path | None) -> Path | None:
        if value is not None:
            _context(value)
        return value

    @model_validator(mode="after")
    def _whole(self) -> PacsSettings:
        """One way in at most; and secrets that can be read."""
        given = [field for field in _SECRETS if field in self.model_fields_set]
        if len(given) > 1:
            raise ValueError(f"{given[0]} and {given[1]} are both given; one is enough")
        if self.user and given and given[0].startswith("token"):
            raise ValueError(f"user goes with a password; {given[0]} needs none")
        if self.user and not given:
            raise ValueError("user is given without password, password_file or password_variable")
        if given and given[0].startswith("password") and not self.user:
            raise ValueError(f"{given[0]} is given without user")
        if ":" in self.user:
            raise ValueError("user can hold no colon (RFC 7617)")
        if self.dicom_host and self.aet is None:
            raise ValueError("dicom_host is given without aet")
        self.authorization()
        return self

    @property
    def is_encrypted(self) -> bool:
        """Whether nobody on the way can read along."""
        return self.url.startswith("https:")

    @property
    def shown(self) -> str:
        """What to call it in a sentence."""
        return f"The PACS {self.name}"

    @property
    def web_address(self) -> tuple[str, int]:
        """Host and port of its DICOMweb."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or (443 if self.is_encrypted else 80)

    @property
    def dicom_address(self) -> tuple[str, int] | None:
        """Host and port of its DICOM server; None where none is known."""
        if self.aet is None:
            return None
        return self.dicom_host or urlsplit(self.url).hostname or "", self.dicom_port

    @cached_property
    def trust(self) -> ssl.SSLContext:
        """Which certificates are trusted; that they are checked cannot be turned off."""
        return _context(self.ca_bundle)

    def authorization(self) -> str:
        """The header ``Authorization``; "" where none is needed. Files are read anew each time.

        Raises:
            ValueError: the secret cannot be read, or is empty.
        """
        if self.user:
            secret = self._secret("password", self.password, self.password_file,
                                  self.password_variable)  # fmt: skip
            return "Basic " + b64encode(f"{self.user}:{secret}".encode()).decode()
        if any(field in self.model_fields_set for field in _SECRETS):
            return "Bearer " + self._secret("token", self.token, self.token_file,
                                            self.token_variable)  # fmt: skip
        return ""

    @staticmethod
    def _secret(field: str, given: SecretStr, file: Path | None, name: str) -> str:
        secret = given.get_secret_value()
        if file is not None:
            try:
                secret = file.read_text("utf-8").rstrip("\r\n")
            except (OSError, UnicodeError) as error:
                why = reason(error) if isinstance(error, OSError) else "it is no text"
                raise ValueError(f"{field}_file {file} cannot be read: {why}") from None
            field += "_file"
        elif name:
            secret = variable(name)
            field += "_variable"
        if not secret:
            raise ValueError(f"{field} is empty")
        if not secret.isprintable() or (field.startswith("token") and not secret.isascii()):
            raise ValueError(f"{field} holds characters that no header can carry")
        return secret


def _context(ca_bundle: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=None if ca_bundle is None else str(ca_bundle))
    except ssl.SSLError:
        raise ValueError(f"{ca_bundle} holds no certificates in PEM form") from None
    except OSError as error:
        raise ValueError(f"{ca_bundle} cannot be read: {reason(error)}") from None


class ConfiguredPacs:
    """Every PACS that this installation may ask, by name, in the order of their entries."""

    def __init__(self, entries: Mapping[str, PacsSettings]) -> None:
        self._entries = dict(entries)

    @classmethod
    def of(cls, settings: Settings) -> ConfiguredPacs:
        """Those of ``HEPATICA_PACS``; none where it is empty.

        Raises:
            PacsRefused: the file cannot be read, or an entry cannot be used.
        """
        told = settings.pacs.strip()
        if not told:
            return cls({})
        if told.startswith("{"):  # not told as a file's name: it may hold a password
            raise PacsRefused("HEPATICA_PACS is one entry in JSON; put [ and ] around it.")
        tables = _of_json(told) if told.startswith("[") else _of_toml(Path(told))
        entries: dict[str, PacsSettings] = {}
        for number, table in enumerate(tables, 1):
            one = _entry(number, table)
            if one.name in entries:
                raise PacsRefused(
                    f"HEPATICA_PACS, entry {number} ({one.name}): name: another entry has it."
                )
            entries[one.name] = one
        return cls(entries)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def names(self) -> list[str]:
        """What they are called."""
        return list(self._entries)

    @property
    def all(self) -> list[PacsSettings]:
        """Every one."""
        return list(self._entries.values())

    def named(self, name: str = "") -> PacsSettings:
        """The PACS of that name; without a name the first one, which is the usual.

        Raises:
            NotFound: there is none.
        """
        if not self._entries:
            raise NotFound(
                "No PACS is configured here. An administrator names those that may be asked in "
                "HEPATICA_PACS."
            )
        if not name:
            return next(iter(self._entries.values()))
        found = self._entries.get(name)
        if found is None:
            raise NotFound(
                f"No PACS of that name is configured here. There is: {', '.join(self.names)}."
            )
        return found


def _of_json(text: str) -> list[Any]:
    try:
        found = json.loads(text, object_pairs_hook=_told_once)
    except RecursionError:
        raise PacsRefused("HEPATICA_PACS is nested too deeply.") from None
    except ValueError as error:
        at = f" (character {error.pos + 1})" if isinstance(error, json.JSONDecodeError) else ""
        raise PacsRefused(f"HEPATICA_PACS is no list in JSON{at}.") from None
    return list(found)


def _told_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise PacsRefused(f"HEPATICA_PACS: an entry holds {twice} twice.")
    return dict(pairs)


def _of_toml(path: Path) -> list[Any]:
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise PacsRefused(
            f"HEPATICA_PACS names the file {path}, which cannot be read: {reason(error)}."
        ) from None
    except tomllib.TOMLDecodeError as error:
        where = re.search(r"\(at [^)]*\)$", str(error))
        at = f" {where[0]}" if where else ""
        raise PacsRefused(f"HEPATICA_PACS: {path} is no TOML{at}.") from None
    except UnicodeError:
        raise PacsRefused(f"HEPATICA_PACS: {path} is no text in UTF-8.") from None
    tables = found.pop("pacs", None)
    if found or not isinstance(tables, list):
        raise PacsRefused(
            f"HEPATICA_PACS: {path} may hold tables [[pacs]] and nothing else, one for each PACS."
        )
    return tables


def _entry(number: int, table: object) -> PacsSettings:
    if not isinstance(table, dict):
        raise PacsRefused(f"HEPATICA_PACS, entry {number} is no table of fields.")
    name = table.get("name")
    which = f"entry {number}" + (f" ({name})" if isinstance(name, str) and name else "")
    try:
        return PacsSettings.model_validate(table)
    except ValidationError as error:
        told = "; ".join(_fault(one["loc"], one["msg"]) for one in error.errors())
        raise PacsRefused(f"HEPATICA_PACS, {which}: {told}.") from None


def _fault(at: tuple[int | str, ...], message: str) -> str:
    field = ".".join(str(part) for part in at)
    words = {
        "Extra inputs are not permitted": "there is no such field",
        "Field required": "it is missing",
    }.get(message, message.removeprefix("Value error, "))
    return f"{field}: {words}" if field else words
