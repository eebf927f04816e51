"""Signing in with the hospital's accounts: one provider of OpenID Connect, by its address alone.

Authorization code with PKCE (RFC 7636). What the browser carries between the two requests is in a
cookie signed under the installation's key; the answer must fit it, its ID token must be signed by
the provider, for this client, fresh, and with the nonce of this browser (OpenID Connect Core 3.1).
"""

from __future__ import annotations

import json
import secrets
import ssl
import threading
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from app.cookies import same, tag
from app.errors import Forbidden, Unauthorised, Unavailable
from app.models.people.identity import Person
from app.roles import ROLES
from app.settings import Settings
from ml.ground.errors import reason

ANSWER = "/sessions/oidc/answer"
"""Where the provider sends the browser back to; it wants to know this address beforehand."""
MINUTES = 10
"""So long somebody may take to sign in there."""
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
"""Signatures by the provider's own key; never ``none``, never one by a shared secret."""
_TIMEOUT_S = 10.0
_KNOWN_S = 3600.0
_LEAST_BETWEEN_S = 30.0
_LEEWAY_S = 60
_MOST_AT_ONCE = 8
_PURPOSE = "sign-in elsewhere"

Told = Mapping[str, Any]
"""What the provider tells, as JSON: its configuration, its keys, claims."""


class OidcRefused(Exception):
    """The provider is configured so that it cannot be used; the message says what and where."""


@dataclass(frozen=True)
class Begun:
    """A sign-in that goes on at the provider: where to, and what the browser keeps meanwhile."""

    address: str
    cookie: str


@dataclass
class Provider:
    """A provider, and what was read of it.

    Attributes:
        issuer: its address, as it calls itself.
        roles: group → role here.
        label: what the button says.
    """

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    redirect: str
    roles: Mapping[str, str]
    groups_claim: str
    name_claim: str
    label: str
    context: ssl.SSLContext = field(repr=False)
    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(_MOST_AT_ONCE)
        self._read: dict[str, tuple[float, Told]] = {}

    @classmethod
    def of(cls, settings: Settings, key: bytes) -> Provider | None:
        """The one of the settings; None where there is none.

        Raises:
            OidcRefused: a setting that it needs is missing or cannot be used.
        """
        if not settings.oidc_issuer:
            return None
        for name in ("oidc_client_id", "oidc_roles", "public_origin"):
            if not getattr(settings, name):
                raise OidcRefused(
                    f"HEPATICA_OIDC_ISSUER is set, so HEPATICA_{name.upper()} is needed as well."
                )
        parts = urlsplit(settings.oidc_issuer)
        if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
            raise OidcRefused("HEPATICA_OIDC_ISSUER must begin with https://.")
        try:
            secret = (
                settings.oidc_client_secret_file.read_text("utf-8").strip()
                if settings.oidc_client_secret_file
                else ""
            )
        except (OSError, UnicodeDecodeError) as error:
            raise OidcRefused(
                "HEPATICA_OIDC_CLIENT_SECRET_FILE cannot be read: "
                f"{reason(error) if isinstance(error, OSError) else 'it is no text'}."
            ) from error
        try:
            context = ssl.create_default_context(cafile=settings.oidc_ca)
        except (OSError, ssl.SSLError) as error:
            raise OidcRefused(
                "HEPATICA_OIDC_CA names a file that cannot be used: "
                f"{error.strerror or 'it holds no certificate'}."
            ) from error
        return cls(
            settings.oidc_issuer,
            settings.oidc_client_id,
            secret,
            settings.public_root + ANSWER,
            _roles(settings.oidc_roles),
            settings.oidc_groups_claim,
            settings.oidc_name_claim,
            settings.oidc_label,
            context,
            key,
        )

    # -- the two requests ----------------------------------------------------------------------

    def begin(self, next: str) -> Begun:
        """Send somebody there.

        Args:
            next: the path here that they want to get to.

        Raises:
            Unavailable: the provider does not answer.
        """
        state, nonce = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        verifier = secrets.token_urlsafe(48)
        with self._client() as client:
            told = self._discovered(client)
            address, _ = client.create_authorization_url(
                _place(told, "authorization_endpoint"),
                state=state,
                nonce=nonce,
                code_verifier=verifier,
            )
        until = int(time.time()) + MINUTES * 60
        carried = [state, nonce, verifier, until, next[:1500]]
        text = urlsafe_b64encode(json.dumps(carried).encode()).decode()
        return Begun(address, f"{text}.{tag(self.key, _PURPOSE, text)}")

    def finish(self, cookie: str, given: Mapping[str, str]) -> tuple[Person, str]:
        """Who came back, and where they wanted to get to.

        Args:
            cookie: what the browser kept.
            given: the parameters of the address to which the provider sent it.

        Raises:
            Unauthorised: the answer is not to this browser's question, or too old, or the
                provider's word cannot be believed.
            Forbidden: the provider let the person not in.
            Unavailable: the provider does not answer.
        """
        state, nonce, verifier, next = _carried(self.key, cookie)
        if not same(given.get("state", ""), state):
            raise Unauthorised(
                "This answer belongs to another sign-in, perhaps in another tab. Begin again."
            )
        if "code" not in given:
            raise Forbidden(_denied(given.get("error", "")))
        with self._client() as client:
            told = self._discovered(client)
            token = self._exchanged(client, told, given["code"], verifier)
            claims = self._believed(client, told, token, nonce)
            groups = self._groups(client, told, claims)
        name = str(claims.get(self.name_claim) or "")
        role = max((self.roles[one] for one in groups if one in self.roles),
                   key=ROLES.index, default=None)  # fmt: skip
        return Person(self.issuer, str(claims["sub"])[:255], name, role), next

    # -- what the provider says ----------------------------------------------------------------

    @contextmanager
    def _client(self) -> Iterator[Any]:
        """A client of the provider; its faults become refusals.

        Raises:
            Unavailable: too many ask at once, or the provider does not do its part.
        """
        import httpx2 as httpx
        from authlib.common.errors import AuthlibBaseError
        from authlib.integrations.httpx_client import OAuth2Client

        if not self._places.acquire(timeout=_TIMEOUT_S):
            raise Unavailable("Too many people are signing in at the moment. Try again.")
        try:
            with OAuth2Client(
                self.client_id,
                self.client_secret or None,
                scope="openid profile email",
                redirect_uri=self.redirect,
                code_challenge_method="S256",
                token_endpoint_auth_method=(
                    "client_secret_basic" if self.client_secret else "none"
                ),
                verify=self.context,
                timeout=_TIMEOUT_S,
                trust_env=False,
                follow_redirects=False,
            ) as client:
                yield client
        except AuthlibBaseError as error:
            raise Unauthorised(
                f"The identity provider did not accept the sign-in ({error.error or 'no reason'}). "
                "Begin again; if it happens again, tell an administrator."
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError) as error:
            raise Unavailable(
                f"The identity provider does not do its part ({_why(error)}). Try again in a "
                "moment, or sign in with a password of this installation."
            ) from error
        finally:
            self._places.release()

    def _discovered(self, client: Any) -> Told:
        """Its configuration (OpenID Connect Discovery 1.0), kept for an hour."""
        base = self.issuer.rstrip("/")
        told = self._kept(client, f"{base}/.well-known/openid-configuration")
        if str(told["issuer"]).rstrip("/") != base:
            raise ValueError("it calls itself otherwise than HEPATICA_OIDC_ISSUER")
        return told

    def _kept(self, client: Any, address: str, *, at_least: float = 0.0) -> Told:
        """What stands at an address; read again after an hour, or where it is older than told."""
        with self._lock:
            at, known = self._read.get(address, (0.0, {}))
            if known and at >= at_least and time.monotonic() - at < _KNOWN_S:
                return known
        reply = client.request("GET", address, withhold_token=True)
        reply.raise_for_status()
        found: Told = reply.json()
        if not isinstance(found, dict):
            raise ValueError("what it says is no JSON object")
        with self._lock:
            self._read[address] = time.monotonic(), found
        return found

    def _exchanged(self, client: Any, told: Told, code: str, verifier: str) -> Any:
        """The tokens for a code."""
        return client.fetch_token(
            _place(told, "token_endpoint"),
            grant_type="authorization_code",
            code=code,
            code_verifier=verifier,
        )

    def _believed(self, client: Any, told: Told, token: Told, nonce: str) -> Told:
        """The claims of an ID token whose signature, issuer, client, times and nonce are right.

        Raises:
            Unauthorised: one of them is not.
        """
        from authlib.oidc.core import CodeIDToken
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        text = token.get("id_token")
        if not isinstance(text, str):
            raise Unauthorised(
                "The identity provider sent no ID token. Its administrator must allow the scope "
                "openid for this client."
            )
        try:
            for at_least in (0.0, time.monotonic() - _LEAST_BETWEEN_S):
                keys: Any = self._kept(client, _place(told, "jwks_uri"), at_least=at_least)
                try:
                    signed = jwt.decode(
                        text,
                        KeySet.import_key_set(keys),
                        algorithms=list(_ALGORITHMS),
                    )
                    break
                except (JoseError, ValueError):
                    if at_least:  # its keys may have changed since they were read; now they are new
                        raise
            claims = CodeIDToken(
                signed.claims,
                signed.header,
                {
                    "iss": {"essential": True, "value": str(told["issuer"])},
                    "aud": {"essential": True, "value": self.client_id},
                    "sub": {"essential": True},
                },
                {
                    "nonce": nonce,
                    "client_id": self.client_id,
                    "access_token": token.get("access_token"),
                },
            )
            claims.validate(leeway=_LEEWAY_S)
        except (JoseError, ValueError) as error:
            raise Unauthorised(
                "What the identity provider said cannot be believed "
                f"({getattr(error, 'error', '') or type(error).__name__}). Begin again; if it "
                "happens again, compare the clocks of both servers, and tell an administrator."
            ) from error
        return dict(claims)

    def _groups(self, client: Any, told: Told, claims: Told) -> list[str]:
        """The groups that the provider tells: in the ID token, or else where it tells more.

        Raises:
            Forbidden: it tells that there are too many to tell.
        """
        found = _at(claims, self.groups_claim)
        if found is None and "userinfo_endpoint" in told:
            reply = client.get(_place(told, "userinfo_endpoint"))
            reply.raise_for_status()
            more = reply.json()
            if not isinstance(more, dict) or more.get("sub") != claims["sub"]:
                raise ValueError("it tells of somebody else")
            found = _at(more, self.groups_claim)
        if found is None and self.groups_claim in (claims.get("_claim_names") or {}):
            raise Forbidden(
                "You are in so many groups that the identity provider does not tell them. Its "
                "administrator can limit the groups that it tells to those of this client."
            )
        if isinstance(found, str):
            return [found]
        return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []


def _place(told: Told, name: str) -> str:
    """An address of the provider's configuration.

    Raises:
        KeyError, ValueError: it names none.
    """
    address = told[name]
    if not isinstance(address, str) or urlsplit(address).scheme not in ("http", "https"):
        raise ValueError(f"its {name} is no address")
    return address


def _at(claims: Told, path: str) -> Any:
    """A claim by its name, or by names with dots between, such as ``realm_access.roles``."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _carried(key: bytes, cookie: str) -> tuple[str, str, str, str]:
    """State, nonce, verifier and path of a cookie that is ours and not too old.

    Raises:
        Unauthorised: it is not.
    """
    text, _, signed = cookie.partition(".")
    if not text or not same(signed, tag(key, _PURPOSE, text)):
        raise Unauthorised(
            "This browser did not begin a sign-in here, or it keeps no cookies. Begin again."
        )
    state, nonce, verifier, until, next = json.loads(urlsafe_b64decode(text))
    if time.time() > until:
        raise Unauthorised(f"Signing in took more than {MINUTES} minutes. Begin again.")
    return state, nonce, verifier, next


def _roles(text: str) -> dict[str, str]:
    """``GROUP=role; GROUP=role`` as a mapping.

    Raises:
        OidcRefused: a part that is no such pair, or a role that there is none.
    """
    found: dict[str, str] = {}
    for part in filter(None, (one.strip() for one in text.split(";"))):
        group, _, role = (one.strip() for one in part.rpartition("="))
        if not group or role not in ROLES:
            raise OidcRefused(
                f"HEPATICA_OIDC_ROLES holds {part!r}. Write GROUP=role, with semicolons between; "
                f"a role is one of {', '.join(ROLES)}."
            )
        if found.setdefault(group, role) != role:
            raise OidcRefused(f"HEPATICA_OIDC_ROLES gives the group {group!r} two roles.")
    return found


def _denied(error: str) -> str:
    if error == "access_denied":
        return "The identity provider did not let you in, or you went back. Begin again."
    known = "".join(one for one in error[:60] if one.isalnum() or one in "_-")
    return f"The identity provider refused the sign-in ({known or 'without a reason'})."


def _why(error: Exception) -> str:
    """What went wrong, without anything that was sent."""
    import httpx2 as httpx

    if isinstance(error, httpx.TimeoutException):
        return "it does not answer in time"
    if isinstance(error, httpx.HTTPStatusError):
        return f"it answered {error.response.status_code}"
    if isinstance(error, httpx.HTTPError):
        return "it cannot be reached, or its certificate is not trusted"
    if isinstance(error, KeyError):
        return f"its configuration holds no {error.args[0]}"
    return str(error)[:100] if type(error) is ValueError else "it sends what cannot be read"
