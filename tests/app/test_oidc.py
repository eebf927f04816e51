"""Signing in with the hospital's accounts: what a provider says counts, and nobody else's word."""

from __future__ import annotations

import hmac
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2 as httpx
import pytest
import sqlalchemy as sa
from joserfc import jwt
from joserfc.jwk import RSAKey

from app.errors import Conflict
from app.models import ApiToken, Event, Identity, SignIn, User
from app.models.people.identity import Person
from app.oidc import OidcRefused, Provider
from app.settings import Settings

ORIGIN = "http://testserver"
ROLES = "/hepatica/admins=admin; cn=doctors,ou=liver=reader; science=researcher"
KEY = b"k" * 32


@lru_cache
def key_of(kid: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": kid}, private=True)


class There:
    """A provider on loopback: its answers can be changed one by one."""

    def __init__(self) -> None:
        self.key = key_of("one")
        self.claims: dict[str, object] = {"preferred_username": "ada", "groups": ["science"]}
        self.userinfo: dict[str, object] | None = None
        self.sign: Callable[[dict[str, object]], str] | None = None
        self.told: dict[str, object] = {}
        self.status = 200
        self.asked: list[tuple[str, dict[str, list[str]]]] = []
        self.nonce = ""
        there = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                there._answer(self, "")

            def do_POST(self) -> None:
                there._answer(self, self.rfile.read(int(self.headers["content-length"])).decode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler, body: str) -> None:
        path = urlsplit(handler.path).path
        self.asked.append((path, parse_qs(body)))
        answers = {
            "/.well-known/openid-configuration": lambda: {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
                **({"userinfo_endpoint": f"{self.issuer}/me"} if self.userinfo else {}),
                **self.told,
            },
            "/keys": lambda: {"keys": [self.key.as_dict(private=False)]},
            "/token": lambda: {
                "access_token": "an-access-token", "token_type": "Bearer", "id_token": self.token()
            },
            "/me": lambda: self.userinfo,
        }  # fmt: skip
        text = json.dumps(answers[path]()).encode()
        handler.send_response(self.status)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text)

    def token(self) -> str:
        moment = int(time.time())
        claims = {
            "iss": self.issuer, "sub": "subject-1", "aud": "hepatica", "iat": moment,
            "exp": moment + 300, "nonce": self.nonce, **self.claims,
        }  # fmt: skip
        if self.sign is not None:
            return self.sign(claims)
        return jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.key)


@pytest.fixture
def there() -> Iterator[There]:
    made = There()
    yield made
    made.close()


@pytest.fixture
def provider(app, there) -> Provider:
    settings = Settings(
        oidc_issuer=there.issuer, oidc_client_id="hepatica", oidc_roles=ROLES, public_origin=ORIGIN
    )
    found = Provider.of(settings, KEY)
    assert found is not None
    app.state.provider = found
    return found


def begun(client, there: There, next: str = "/cases") -> dict[str, str]:
    """A browser that went to the provider; what it was sent there with."""
    reply = client.get("/sessions/oidc", params={"next": next})
    assert reply.status_code == 303, reply.text
    asked = {name: value for name, [value] in
             parse_qs(urlsplit(reply.headers["location"]).query).items()}  # fmt: skip
    there.nonce = asked["nonce"]
    return asked


def came_back(client, there: There, next: str = "/cases"):
    asked = begun(client, there, next)
    return client.get("/sessions/oidc/answer", params={"code": "c", "state": asked["state"]})


def names_and_roles(session) -> list[tuple[str, str]]:
    session.expire_all()
    return [(one.name, one.role) for one in User.everyone(session)]


def test_a_person_signs_in_and_gets_the_role_of_their_groups(client, session, there, provider, app):
    page = client.get("/sessions/new").text
    assert "Sign in with your hospital account" in page and "/sessions/oidc?next=" in page
    asked = begun(client, there, "/synthetics")
    assert asked["response_type"] == "code" and asked["code_challenge_method"] == "S256"
    assert asked["redirect_uri"] == f"{ORIGIN}/sessions/oidc/answer"
    assert "openid" in asked["scope"].split()
    reply = client.get("/sessions/oidc/answer", params={"code": "c", "state": asked["state"]})
    assert reply.status_code == 303 and reply.headers["location"] == "/synthetics"
    assert client.get("/account").text.count("identity provider") == 1
    assert names_and_roles(session) == [("ada", "researcher")]
    [exchanged] = [body for path, body in there.asked if path == "/token"]
    assert exchanged["grant_type"] == ["authorization_code"] and exchanged["code"] == ["c"]
    assert len(exchanged["code_verifier"][0]) >= 43
    made, signed_in = (
        session.scalars(sa.select(Event).where(Event.kind == kind)).one()
        for kind in ("account made", "signed in")
    )
    assert made.actor == "identity provider" and signed_in.actor == "ada"
    refused = client.post("/sessions", data={"name": "ada", "password": ""})
    assert refused.status_code == 401  # no password opens it


def test_the_role_follows_the_groups_at_each_sign_in_and_can_be_taken_away(
    client, session, database, there, provider
):
    for groups, role in (
        (["science", "/hepatica/admins"], "admin"),
        ("cn=doctors,ou=liver", "reader"),
        (["science"], "researcher"),
    ):
        there.claims["groups"] = groups
        with database.transaction() as own:  # so that there is another administrator
            if User.named(own, "root") is None:
                User.add(own, "root", "admin", "correct horse")
        assert came_back(client, there).status_code == 303
        assert ("ada", role) in names_and_roles(session)
    with database.transaction() as own:
        secret = ApiToken.add(
            own, "laptop", "researcher", owner=User.require(own, "ada"), by="root"
        )
    there.claims["groups"] = ["knitting"]
    reply = came_back(client, there)
    assert reply.status_code == 403 and "none of your groups" in reply.text
    session.expire_all()
    ada = User.require(session, "ada")
    assert ada.disabled_at is not None
    assert session.scalars(sa.select(SignIn).where(SignIn.user_id == ada.id)).all() == []
    assert ApiToken.holder(session, secret) is None
    there.claims["groups"] = ["science"]
    assert came_back(client, there).status_code == 303  # it gives the role again
    session.expire_all()
    assert User.require(session, "ada").disabled_at is None


def test_whom_an_administrator_disabled_the_provider_does_not_let_in(
    client, session, database, there, provider
):
    assert came_back(client, there).status_code == 303
    there.claims["groups"] = []
    assert came_back(client, there).status_code == 403
    with database.transaction() as own:
        User.require(own, "ada").disable(own, "root")  # while the provider gives no role
    there.claims["groups"] = ["science"]
    reply = came_back(client, there)
    assert reply.status_code == 403 and "disabled here" in reply.text


def test_nobody_without_a_group_gets_an_account(client, session, there, provider):
    for groups in ([], ["admin"], ["researcher"], None, [["science"]], {"science": 1}, 7):
        there.claims["groups"] = groups
        assert came_back(client, there).status_code == 403
    assert names_and_roles(session) == []


def test_the_only_administrator_keeps_the_account_but_is_not_let_in(
    client, session, there, provider
):
    there.claims["groups"] = ["/hepatica/admins"]
    assert came_back(client, there).status_code == 303
    there.claims["groups"] = ["science"]
    assert "only administrator" in came_back(client, there).text
    there.claims["groups"] = []
    assert came_back(client, there).status_code == 403
    assert names_and_roles(session) == [("ada", "admin")]
    assert session.scalars(sa.select(SignIn)).all() == []


def test_an_account_that_was_made_here_is_not_taken_over_but_can_be_joined(
    client, session, database, there, provider
):
    with database.transaction() as own:
        User.add(own, "ada", "admin", "correct horse")
        User.add(own, "root", "admin", "correct horse")
    reply = came_back(client, there)
    assert reply.status_code == 403 and "user join ada subject-1" in reply.text
    with database.transaction() as own:
        Identity.join(own, User.require(own, "ada"), there.issuer, "subject-1", "root")
    with pytest.raises(Conflict), database.transaction() as own:
        Identity.join(own, User.require(own, "root"), there.issuer, "subject-1", "root")
    assert came_back(client, there).status_code == 303
    assert ("ada", "researcher") in names_and_roles(session)
    assert client.post("/sessions", data={"name": "ada", "password": "correct horse"}
                       ).status_code == 401  # fmt: skip
    with pytest.raises(Conflict, match="no password here"), database.transaction() as own:
        User.require(own, "ada").set_password(own, "x", "root")


def test_an_account_that_is_another_one_at_the_provider_now_can_be_joined_again(
    client, session, database, there, provider
):
    assert came_back(client, there).status_code == 303
    there.claims["sub"] = "subject-2"  # deleted and made anew there
    reply = came_back(client, there)
    assert reply.status_code == 403 and "user join ada subject-2" in reply.text
    assert "made here" not in reply.text
    for wrong in ("", " subject-2"):
        with pytest.raises(Conflict, match="empty, or has spaces"), database.transaction() as own:
            Identity.join(own, User.require(own, "ada"), there.issuer, wrong, "root")
    with database.transaction() as own:
        Identity.join(own, User.require(own, "ada"), there.issuer, "subject-2", "root")
    assert came_back(client, there).status_code == 303
    with pytest.raises(Conflict, match="signs in as that person"), database.transaction() as own:
        Identity.join(own, User.require(own, "ada"), there.issuer, "subject-2", "root")


def test_a_slash_at_the_end_of_the_providers_name_makes_it_no_other_provider(database):
    person = Person("https://idp.example/realms/klinik", "s1", "jm", "researcher")
    slashed = replace(person, issuer=f"{person.issuer}/")
    with database.transaction() as own:
        made = Identity.admit(own, person, lambda user: True)
        assert isinstance(made, User)
        assert Identity.admit(own, slashed, lambda user: True) is made
    with database.transaction() as own:
        gone = Identity.admit(own, replace(slashed, role=None), lambda user: True)
        assert isinstance(gone, str)
        assert User.require(own, "jm").disabled_at is not None


def test_two_people_of_one_name_stay_two(client, session, there, provider):
    assert came_back(client, there).status_code == 303
    there.claims["sub"] = "subject-2"
    assert came_back(client, there).status_code == 403
    there.claims["preferred_username"] = "HOSPITAL\\bø b"
    assert came_back(client, there).status_code == 303
    assert names_and_roles(session) == [("HOSPITAL-b-b", "researcher"), ("ada", "researcher")]
    there.claims |= {"sub": "subject-3", "preferred_username": "øø"}
    assert "no name" in came_back(client, there).text


def test_groups_are_read_where_the_provider_tells_them(client, session, there, provider):
    del there.claims["groups"]
    there.userinfo = {"sub": "subject-1", "groups": ["science"]}
    assert came_back(client, there).status_code == 303
    there.userinfo = {"sub": "somebody-else", "groups": ["/hepatica/admins"]}
    assert came_back(client, there).status_code == 503
    there.userinfo = None
    provider._read.clear()
    there.claims["_claim_names"] = {"groups": "src1"}
    assert "so many groups" in came_back(client, there).text
    provider.groups_claim = "realm_access.roles"
    there.claims["realm_access"] = {"roles": ["science"]}
    assert came_back(client, there).status_code == 303


def _forged(there: There, **claims: object) -> Callable[[dict[str, object]], str]:
    stranger = key_of("a stranger's")
    return lambda told: jwt.encode({"alg": "RS256", "kid": "one"}, {**told, **claims}, stranger)


def _part(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _by_a_secret(there: There) -> Callable[[dict[str, object]], str]:
    """Signed by the public key as if it were a shared secret."""

    def sign(told: dict[str, object]) -> str:
        text = f"{_part({'alg': 'HS256', 'kid': 'one'})}.{_part(told)}"
        digest = hmac.digest(there.key.as_pem(private=False), text.encode(), "sha256")
        return f"{text}.{urlsafe_b64encode(digest).decode().rstrip('=')}"

    return sign


def _unsigned(there: There) -> Callable[[dict[str, object]], str]:
    return lambda told: f"{_part({'alg': 'none'})}.{_part(told)}."


@pytest.mark.parametrize("sign", [_forged, _by_a_secret, _unsigned])
def test_a_token_that_the_provider_did_not_sign_lets_nobody_in(
    client, session, there, provider, sign
):
    there.sign = sign(there)
    reply = came_back(client, there)
    assert reply.status_code == 401 and "cannot be believed" in reply.text
    assert names_and_roles(session) == []


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "http://127.0.0.1:1"}, {"aud": "another-client"}, {"aud": ["a", "b"]},
        {"nonce": "of another browser"}, {"nonce": None}, {"exp": 1}, {"iat": 4_000_000_000},
        {"aud": ["hepatica", "b"], "azp": "b"}, {"sub": None}, {"exp": "soon"},
    ],
)  # fmt: skip
def test_a_token_for_somebody_or_something_else_lets_nobody_in(
    client, session, there, provider, claims
):
    there.claims |= claims
    assert came_back(client, there).status_code == 401
    assert names_and_roles(session) == []


def test_an_answer_counts_in_the_browser_that_asked_and_once(
    client, browser_at_provider, there, provider
):
    asked = begun(client, there)
    answer = {"code": "c", "state": asked["state"]}
    stranger = browser_at_provider()
    assert "did not begin" in stranger.get("/sessions/oidc/answer", params=answer).text
    wrong = client.get("/sessions/oidc/answer", params={"code": "c", "state": "x"})
    assert wrong.status_code == 401 and "another sign-in" in wrong.text
    # a refused answer ends it: the right one, afterwards, needs a new beginning
    assert client.get("/sessions/oidc/answer", params=answer).status_code == 401
    asked = begun(client, there)
    answer["state"] = asked["state"]
    assert client.get("/sessions/oidc/answer", params=answer).status_code == 303
    assert client.get("/sessions/oidc/answer", params=answer).status_code == 401


def test_what_took_too_long_or_was_changed_begins_anew(client, there, provider, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("app.oidc.MINUTES", -1)
        reply = came_back(client, there)
    assert reply.status_code == 401 and "Signing in took more than" in reply.text
    for cookie in ("", "a.b", "W10=.x", "é"):
        client.cookies.set("hepatica_elsewhere", cookie.encode("latin-1").decode("ascii", "ignore"))
        assert client.get("/sessions/oidc/answer", params={"code": "c"}).status_code == 401
        client.cookies.clear()


def test_whoever_is_refused_there_is_told_here(client, there, provider):
    asked = begun(client, there)
    told = {"error": "access_denied", "error_description": "<b>", "state": asked["state"]}
    reply = client.get("/sessions/oidc/answer", params=told)
    assert reply.status_code == 403 and "did not let you in" in reply.text
    assert "<b>" not in reply.text


@pytest.mark.parametrize(
    "told", [{"issuer": "http://127.0.0.1:1"}, {"token_endpoint": None}, {"jwks_uri": "x:y"}]
)
def test_a_provider_that_says_strange_things_is_a_refusal(client, there, provider, told):
    there.told = told
    reply = client.get("/sessions/oidc")
    if reply.status_code == 303:
        reply = came_back(client, there)
    assert reply.status_code in (401, 503) and "Sign in" in reply.text


def test_a_provider_that_is_down_is_said_and_passwords_work_meanwhile(
    client, database, there, provider
):
    with database.transaction() as own:
        User.add(own, "bob", "reader", "correct horse")
    there.status = 502
    reply = client.get("/sessions/oidc")
    assert reply.status_code == 503 and "it answered 502" in reply.text
    there.close()
    reply = client.get("/sessions/oidc")
    assert reply.status_code == 503 and "cannot be reached" in reply.text
    reply = client.post("/sessions", data={"name": "bob", "password": "correct horse"})
    assert reply.status_code == 303


def test_new_keys_of_the_provider_are_read(client, there, provider, monkeypatch):
    assert came_back(client, there).status_code == 303
    there.key = key_of("two")
    there.sign = lambda told: jwt.encode({"alg": "RS256", "kid": "two"}, told, there.key)
    assert came_back(client, there).status_code == 401  # not asked again within half a minute
    monkeypatch.setattr("app.oidc._LEAST_BETWEEN_S", 0.0)
    assert came_back(client, there).status_code == 303


def test_without_a_provider_the_addresses_are_not_there(client):
    assert client.get("/sessions/oidc").status_code == 404
    assert client.get("/sessions/oidc/answer").status_code == 404
    assert "hospital account" not in client.get("/sessions/new").text


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"oidc_roles": ""}, "HEPATICA_OIDC_ROLES is needed"),
        ({"oidc_client_id": ""}, "HEPATICA_OIDC_CLIENT_ID is needed"),
        ({"public_origin": ""}, "HEPATICA_PUBLIC_ORIGIN is needed"),
        ({"oidc_issuer": "http://idp.example.org"}, "https://"),
        ({"oidc_roles": "a=boss"}, "GROUP=role"),
        ({"oidc_roles": "=admin"}, "GROUP=role"),
        ({"oidc_roles": "a=admin; a=reader"}, "two roles"),
        ({"oidc_client_secret_file": "/nowhere"}, "HEPATICA_OIDC_CLIENT_SECRET_FILE"),
        ({"oidc_ca": "/nowhere"}, "HEPATICA_OIDC_CA"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_at_the_start(settings, words):
    whole = {
        "oidc_issuer": "https://idp.example.org", "oidc_client_id": "hepatica",
        "oidc_roles": ROLES, "public_origin": ORIGIN,
    }  # fmt: skip
    with pytest.raises(OidcRefused, match=words):
        Provider.of(Settings(**{**whole, **settings}), KEY)


PROVIDER = Path(sys.prefix) / "oidc" / "node_modules"


@pytest.fixture
def real(tmp_path) -> Iterator[str]:
    """npm's oidc-provider, in which ada is in science and eve in nothing; its address."""
    node = shutil.which("node")
    if node is None or not (PROVIDER / "oidc-provider").is_dir():
        pytest.skip("there is no oidc-provider here (make setup-oidc)")
    (tmp_path / "node_modules").symlink_to(PROVIDER)
    shutil.copy(Path(__file__).with_name("provider.mjs"), tmp_path)
    environment = {
        **os.environ, "SECRET": "s" * 32, "REDIRECT": f"{ORIGIN}/sessions/oidc/answer",
        "GROUPS": json.dumps({"ada": ["science", "/hepatica/admins"], "eve": ["knitting"]}),
    }  # fmt: skip
    with subprocess.Popen(
        [node, "provider.mjs"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    ) as server:  # fmt: skip
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.terminate()


def signed_in_there(address: str, name: str) -> str:
    """Where the provider sends a browser in which somebody signed in and agreed."""
    with httpx.Client(follow_redirects=False, timeout=20) as browser:
        for _ in range(12):
            if address.startswith(ORIGIN):
                return address.removeprefix(ORIGIN)
            reply = browser.get(address)
            if reply.status_code == 200:  # a form: to sign in, then to agree
                prompt = re.search(r'name="prompt" value="(\w+)"', reply.text)
                action = re.search(r'action="([^"]+)"', reply.text)
                assert prompt and action, reply.text
                given = {"prompt": prompt[1], "login": name, "password": "any"}
                reply = browser.post(urljoin(address, action[1]), data=given)
            address = urljoin(address, reply.headers["location"])
    raise AssertionError("the provider leads nowhere")


@pytest.mark.parametrize(("name", "role"), [("ada", "admin"), ("eve", None)])
def test_a_real_provider_lets_people_in_by_its_word(
    client, app, session, real, tmp_path, name, role
):
    secret = tmp_path / "secret"
    secret.write_text("s" * 32 + "\n")
    app.state.provider = Provider.of(
        Settings(oidc_issuer=real, oidc_client_id="hepatica", oidc_client_secret_file=secret,
                 oidc_roles=ROLES, public_origin=ORIGIN),
        KEY,
    )  # fmt: skip
    there = client.get("/sessions/oidc").headers["location"]
    reply = client.get(signed_in_there(there, name))
    assert reply.status_code == (303 if role else 403), reply.text
    assert names_and_roles(session) == ([(name, role)] if role else [])


@pytest.fixture
def browser_at_provider(app):
    from starlette.testclient import TestClient

    def make() -> TestClient:
        return TestClient(app, base_url=ORIGIN, follow_redirects=False)

    return make
