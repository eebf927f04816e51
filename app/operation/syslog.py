"""A receiver of syslog over TLS (RFC 5425), to which the audit trail is sent."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from app.settings import Settings

PATIENCE_S = 15.0
"""So long connecting, and each part of sending, may take."""


class SyslogRefused(Exception):
    """The receiver is configured so that it cannot be used; the message says what and where."""


@dataclass(frozen=True)
class Receiver:
    """One receiver; its certificate is always checked."""

    host: str
    port: int
    ca_bundle: Path | None = None
    certificate: Path | None = None

    @classmethod
    def of(cls, settings: Settings) -> Receiver | None:
        """The one of the settings; None where there is none.

        Raises:
            SyslogRefused: a file that is named is not there, or holds no certificate.
        """
        if not settings.audit_syslog:
            return None
        host, port = _parted(settings.audit_syslog)
        found = cls(host, port, settings.audit_syslog_ca, settings.audit_syslog_certificate)
        try:
            found._context()
        except (OSError, ssl.SSLError) as error:
            named = "HEPATICA_AUDIT_SYSLOG_CA or HEPATICA_AUDIT_SYSLOG_CERTIFICATE"
            why = error.strerror or "it holds no certificate that can be used"
            raise SyslogRefused(f"{named} names a file that cannot be used: {why}.") from error
        return found

    @property
    def address(self) -> str:
        """Where it is."""
        return _address(self.host, self.port)

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca_bundle)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.certificate is not None:
            context.load_cert_chain(self.certificate)
        return context

    def send(self, lines: Sequence[bytes]) -> str:
        """Send messages over one connection; why they may not have come, or "".

        Syslog has no answer. The end of the connection is the answer here: the receiver closes it
        in order only once it has read all; where it does not, all are sent again.
        """
        try:
            with (
                socket.create_connection((self.host, self.port), PATIENCE_S) as plain,
                self._context().wrap_socket(plain, server_hostname=self.host) as secure,
            ):
                secure.sendall(b"".join(lines))
                return _closed(secure)
        except ssl.SSLCertVerificationError as error:
            return f"its certificate is not trusted ({error.verify_message})"
        except TimeoutError:
            return f"it did nothing for {PATIENCE_S:.0f} s"
        except (OSError, ssl.SSLError) as error:
            return _words(error)
        except UnicodeError:
            return "its name is no name of a host"


def address_of(settings: Settings) -> str:
    """The `Receiver.address` of the one in the settings, which name one."""
    return _address(*_parted(settings.audit_syslog))


def _parted(told: str) -> tuple[str, int]:
    host, port = told.rsplit(":", 1)
    return host.strip("[]"), int(port)


def _address(host: str, port: int) -> str:
    return f"{host}:{port}"


def _closed(secure: ssl.SSLSocket) -> str:
    """Say that no more comes and wait for the receiver to say the same; why it did not, or ""."""
    try:
        with suppress(ssl.SSLEOFError):  # it closed without a word, but after all was read
            secure.unwrap()
    except ConnectionResetError:
        return "it broke the connection off before it had read all"
    return ""


def _words(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "its name is not known"
    if isinstance(error, ssl.SSLError):
        reason = re.sub(r"_", " ", error.reason or "TLS failed").lower()
        return f"it could not be spoken to over TLS ({reason})"
    return (error.strerror or type(error).__name__).lower()
