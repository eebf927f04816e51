"""Below a path of a host: the prefix is taken off what comes in and put on what goes out.

``tests/browser/test_proxy.py`` looks at every page through a real proxy.
"""

from __future__ import annotations

import pytest
import whole
from markupsafe import escape
from pydantic import ValidationError
from starlette.testclient import TestClient

import studies
from app import main
from app.oidc import Provider
from app.rooted import within
from app.settings import OWN_PATHS, Settings

KEY = studies.KEY.decode()
ORIGIN = "https://testserver"


@pytest.fixture
def below(database, monkeypatch):
    """A stranger's browser at an installation below ``/hepatica``, which is reached by HTTPS."""
    monkeypatch.setattr(main, "Database", lambda _url: database)
    told = Settings(installation_key=KEY, root_path="/hepatica/", public_origin=ORIGIN)
    app = main.create_app(told)
    return TestClient(app, base_url=ORIGIN, follow_redirects=False, headers={"origin": ORIGIN})


def test_what_is_asked_for_below_it_or_without_it_is_the_same(below):
    for path in ("/hepatica/sessions/new", "/sessions/new", "/%68epatica/sessions/new"):
        page = below.get(path)
        assert page.status_code == 200
        assert 'action="/hepatica/sessions"' in page.text
    assert below.get("/hepatica").headers["location"] == "/hepatica/sessions/new"
    assert below.get("/hepatica/cases/").headers["location"] == "/hepatica/cases"
    for path in ("/hepatical/sessions/new", "/hepatica/hepatica/sessions/new"):
        assert below.get(path).status_code == 404
    assert below.get("/hepatica/cases?filter=mine").headers["location"] == (
        "/hepatica/sessions/new?next=%2Fcases%3Ffilter%3Dmine"
    )


def test_who_signs_in_comes_to_a_page_below_it_with_cookies_for_it_alone(below, session):
    studies.make_user(session, "ada")
    session.commit()
    for told, leads in (
        ("/hepatica/readings?x=1", "/hepatica/readings?x=1"),
        ("/readings", "/hepatica/readings"),
        ("//elsewhere.example.org/", "/hepatica/"),
        ("/hepatica//elsewhere.example.org/", "/hepatica/"),
    ):
        form = {"name": "ada", "password": "correct horse", "next": told}
        answer = below.post("/hepatica/sessions", data=form)
        assert answer.headers["location"] == leads
        for cookie in answer.headers.get_list("set-cookie"):
            assert cookie.startswith("__Secure-")
            parts = {part.strip().lower() for part in cookie.split(";")[1:]}
            assert {"secure", "httponly", "path=/hepatica/", "samesite=lax"} <= parts


def test_what_people_typed_is_no_address_of_ours(below):
    """Where it looks like one, its quotation marks are escaped."""
    scope = {"app": below.app}
    typed = str(escape('<a href="/cases">'))
    kept = f'<p title="/cases" data-name="/x">{typed}</p><a href="//x.example.org/">x</a>'
    assert within(scope, kept) == kept
    page = '<a href="/"><img src="/a"><form action="/b"><button formaction="/c">'
    assert within(scope, page) == page.replace('"/', '"/hepatica/')


def test_others_are_told_whole_addresses():
    told = Settings(
        installation_key=KEY, root_path="/hepatica", public_origin=ORIGIN,
        oidc_issuer="http://localhost:1", oidc_client_id="x", oidc_roles="a=reader",
    )  # fmt: skip
    provider = Provider.of(told, KEY.encode())
    assert provider.redirect == "https://testserver/hepatica/sessions/oidc/answer"
    assert told.public_root == "https://testserver/hepatica"


def test_a_prefix_that_is_an_address_of_ours_is_refused():
    own = {words.split("/")[1] for words in whole.routes().values()} - {""}
    assert own | {"static"} == OWN_PATHS
    for path in ("/cases", "/api", "/static/hepatica", "/openapi.json/"):
        with pytest.raises(ValidationError, match="could not be told from the other"):
            Settings(root_path=path)
    assert Settings(root_path="/hepatica/cases").root_path == "/hepatica/cases"


@pytest.mark.parametrize("path", ["hepatica", "https://x.example.org/h", "/a b", "/a//b", "/.."])
def test_a_prefix_that_is_no_path_is_refused(path):
    with pytest.raises(ValidationError, match="such as /hepatica"):
        Settings(root_path=path)
