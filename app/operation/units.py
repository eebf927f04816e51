"""Units of systemd for sites without containers: web, worker and DICOM node, each in a sandbox."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.errors import AppError

_ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,30}")


class UnitsRefused(AppError):
    """Units that would not start, or that are there already."""

    status = 409
    title = "The units were not written"


@dataclass(frozen=True)
class Rule:
    """One line of a sandbox, and why it is there."""

    directive: str
    value: str
    why: str


_ALL = (
    Rule("UMask", "0077", "what is made is patients' data, for this account alone"),
    Rule("NoNewPrivileges", "yes", "no program that is started can gain rights"),
    Rule("CapabilityBoundingSet", "", "ports above 1023 and files of its own need no capability"),
    Rule("AmbientCapabilities", "", "as above"),
    Rule("ProtectSystem", "strict", "the whole file system is read-only but the state folder"),
    Rule("ProtectHome", "yes", "nothing is kept in a home"),
    Rule("PrivateTmp", "yes", "a folder for temporary files that nobody else sees"),
    Rule("PrivateUsers", "yes", "other accounts' numbers mean nothing inside"),
    Rule("ProtectProc", "invisible", "other accounts' processes are not seen"),
    Rule("ProtectClock", "yes", "the clock is read and never set"),
    Rule("ProtectHostname", "yes", "the name of the machine is read and never set"),
    Rule("ProtectKernelTunables", "yes", "nothing of the kernel is set"),
    Rule("ProtectKernelModules", "yes", "no driver is loaded"),
    Rule("ProtectKernelLogs", "yes", "the kernel's log is not read"),
    Rule("ProtectControlGroups", "yes", "limits are set here and not from inside"),
    Rule("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX", "HTTP, DICOM and PostgreSQL"),
    Rule("RestrictNamespaces", "yes", "no containers inside"),
    Rule("RestrictRealtime", "yes", "no priority over the rest of the machine"),
    Rule("RestrictSUIDSGID", "yes", "no file that lends its owner's rights"),
    Rule("LockPersonality", "yes", "no other kernel is imitated"),
    Rule("KeyringMode", "private", "no keys of other services"),
    Rule("RemoveIPC", "yes", "shared memory goes with the service"),
    Rule("SystemCallArchitectures", "native", "no calls of another processor's kind"),
    Rule("SystemCallFilter", "@system-service", "what services use"),
    Rule("SystemCallFilter", "~@privileged", "but for what only root could use"),
    Rule("SystemCallErrorNumber", "EPERM", "a refused call fails and does not end the process"),
)
_SERVING = (
    Rule("PrivateDevices", "yes", "networks are served on the processor"),
    Rule("DevicePolicy", "closed", "as above"),
    Rule("MemoryDenyWriteExecute", "yes", "no code is made at run time"),
)


@dataclass(frozen=True)
class _Service:
    noun: str
    what: str
    words: str
    memory: str
    sandbox: tuple[Rule, ...]
    more: tuple[str, ...] = ()
    after: str = ""


_WEB = "hepatica-web.service"
_SERVICES = (
    _Service("web", "pages and API", "serve", "4G", _SERVING, ("TimeoutStopSec=20",)),
    _Service(
        "worker", "executes queued runs (needs hepatica[train])", "work", "8G", (),
        # it is told as Ctrl+C tells it: what it has in hand is taken up again
        ("KillSignal=SIGINT", "SuccessExitStatus=130", "TimeoutStopSec=30"), after=_WEB,
    ),
    _Service(
        "dicom-node", "takes images by DICOM",
        "dicom-node --aet ${NODE_AET} --host ${NODE_HOST} --port ${NODE_PORT}", "4G", _SERVING,
        ("Environment=NODE_AET=HEPATICA NODE_HOST=127.0.0.1 NODE_PORT=4242", "TimeoutStopSec=20"),
        after=_WEB,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Units:
    """The services of one installation.

    Attributes:
        python: interpreter of the installation.
        account: whom the services run as; it is made by whoever installs.
        settings: file with a line ``HEPATICA_…=…`` for each setting.

    Raises:
        UnitsRefused: systemd would not take a path or name so.
    """

    python: Path
    account: str
    settings: Path

    def __post_init__(self) -> None:
        for path in (self.python, self.settings):
            if not path.is_absolute() or re.search(r"[\s%\"'\\$]", str(path)):
                raise UnitsRefused(f"{path}: name an absolute path without spaces and %.")
        for path in (self.python, self.python.resolve()):  # a venv leads to what made it
            if path.is_relative_to("/home") or path.is_relative_to("/root"):
                raise UnitsRefused(
                    f"{path} lies in a home, which the services do not see. Install under /opt, "
                    "with a Python that all may use."
                )
        if not _ACCOUNT.fullmatch(self.account):
            raise UnitsRefused(f"{self.account!r} cannot be an account: small letters and digits.")

    def texts(self) -> dict[str, str]:
        """File name → text."""
        return {
            f"hepatica-{one.noun}.service": "\n".join(self._lines(one)) + "\n" for one in _SERVICES
        }

    def write(self, folder: Path) -> list[Path]:
        """Write the files; none where one of them is there with another text.

        Raises:
            UnitsRefused: one is there, and was changed.
        """
        texts = {folder / name: text for name, text in self.texts().items()}
        for path, text in texts.items():
            if path.exists() and path.read_text("utf-8") != text:
                raise UnitsRefused(
                    f"{path} is there with another text; nothing was written. Keep changes of "
                    f"your own under {path.name}.d, and delete this file."
                )
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            path.write_text(text, "utf-8")
        return list(texts)

    def _lines(self, one: _Service) -> Iterator[str]:
        after = " ".join(word for word in ("network-online.target postgresql.service", one.after)
                         if word)  # fmt: skip
        yield f"# Written by `hepatica units`; change it by: systemctl edit hepatica-{one.noun}"
        yield from ("[Unit]", f"Description=Hepatica: {one.what}", f"After={after}")
        yield from ("Wants=network-online.target", "", "[Service]", "Type=exec")
        yield from (f"User={self.account}", f"EnvironmentFile=-{self.settings}")
        yield from ("StateDirectory=hepatica", "StateDirectoryMode=0700")
        yield "WorkingDirectory=%S/hepatica"
        yield from one.more
        yield f"ExecStart={self.python} -m app {one.words}"
        yield from ("Restart=always", "RestartSec=2", f"MemoryMax={one.memory}", "TasksMax=512")
        yield ""
        for rule in (*_ALL, *one.sandbox):
            yield f"# {rule.why}"
            yield f"{rule.directive}={rule.value}"
        yield from ("", "[Install]", "WantedBy=multi-user.target")
