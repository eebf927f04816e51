"""Scripts and styles: kept for good under their tag, and of one version on a page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app import place
from app.responses import scripts_tag, static
from factories import make_dicom

_IMPORT = re.compile(r"""^import \{([^}]+)\} from ["']([^"']+)["']""", re.M)
_LOADED = re.compile(r"""^import [^"';]*["']([^"']+)["']""", re.M)


@pytest.fixture
def case_page(signed_in_as):
    browser = signed_in_as("reader")
    file = {"files": ("a.dcm", make_dicom())}
    browser.post("/cases", files=file, data={"contrast_phase": "portal"})
    [address] = set(re.findall(r'"(/cases/[0-9a-f-]{36})"', browser.get("/cases").text))
    return browser.get(address).text


def test_scripts_of_another_version_are_not_here(client: TestClient):
    other = "0" * 10 if scripts_tag() != "0" * 10 else "1" * 10
    reply = client.get(f"/static/js/v-{other}/case.js")
    assert reply.status_code == 404
    assert reply.headers["cache-control"] == "no-store"


def test_every_script_of_a_page_lies_in_one_folder_of_one_version(case_page, client: TestClient):
    addresses = re.findall(r'(?:src|href)="(/static/js/[^"]+)"', case_page)
    assert len(addresses) > 5
    assert {address.split("/")[3] for address in addresses} == {f"v-{scripts_tag()}"}
    for address in addresses:
        reply = client.get(address)
        assert reply.status_code == 200
        assert "immutable" in reply.headers["cache-control"]


def test_a_script_that_was_read_before_is_answered_as_it_was_the_first_time(client: TestClient):
    address = static("js/case.js")
    first, again = client.get(address), client.get(address)
    assert first.content == (place.ROOT / "static/js/case.js").read_bytes() == again.content
    own = {"x-request-id": ""}  # each request's
    assert dict(first.headers) | own == dict(again.headers) | own
    assert client.get(address, headers={"range": "bytes=3-9"}).content == first.content[3:10]
    known = {"if-none-match": first.headers["etag"]}
    assert client.get(address, headers=known).status_code == 304
    assert client.head(address).headers["content-length"] == str(len(first.content))
    assert client.get(address.replace("case.js", "absent.js")).status_code == 404


def test_scripts_import_each_other_by_relative_addresses_only():
    """So each is loaded once, under the one address that its page and its importers share."""
    found = 0
    for script in (place.ROOT / "static" / "js").rglob("*.js"):
        for name in re.findall(
            r"""^(?:import|export)\b.*?from ["']([^"']+)""", script.read_text(), re.M
        ):
            assert re.fullmatch(r"\.{1,2}/(\w+/)*\w+\.js", name), f"{script.name} imports {name}"
            assert (script.parent / name).is_file()
            found += 1
    assert found > 5


def test_the_tag_changes_with_any_script(tmp_path, monkeypatch):
    (tmp_path / "static" / "js").mkdir(parents=True)
    for name in ("a.js", "b.js"):
        (tmp_path / "static" / "js" / name).write_text("1")
    monkeypatch.setattr(place, "ROOT", tmp_path)
    before = scripts_tag.__wrapped__()
    (tmp_path / "static" / "js" / "b.js").write_text("2")
    assert scripts_tag.__wrapped__() != before


def test_a_script_without_a_tag_is_asked_after_each_time(client: TestClient):
    assert client.get("/static/js/case.js").headers["cache-control"] == "no-cache"
    assert static("css/base.css").startswith("/static/css/base.css?v=")


def test_no_script_imports_what_is_not_there_or_what_it_does_not_use():
    """There is no build step that would say so."""
    folder = place.ROOT / "static" / "js"
    exported = {
        script: set(
            re.findall(
                r"^export (?:async )?(?:function\*?|const|let|class) ([\w$]+)",
                script.read_text("utf-8"),
                re.M,
            )
        )
        for script in folder.rglob("*.js")
    }
    for script in folder.rglob("*.js"):
        text = script.read_text("utf-8")
        for names, source in _IMPORT.findall(text):
            asked = {name.strip() for name in names.split(",")}
            missing = asked - exported[(script.parent / source).resolve()]
            assert not missing, f"{script.name}: {missing}"
            for name in asked:
                uses = len(re.findall(rf"(?<![\w$.]){re.escape(name)}(?![\w$])", text))
                assert uses > 1, f"{script.name} imports {name} and does not use it"


@pytest.mark.parametrize(("page", "entry"), [("cases", "case"), ("readings", "desk")])
def test_a_page_loads_ahead_what_its_script_imports_and_nothing_else(page, entry):
    """Each level of imports that is found out one by one is a round trip before the first key."""
    folder = place.ROOT / "static" / "js"
    template = (place.ROOT / "templates" / page / "show.html").read_text("utf-8")
    [names] = re.findall(r"for name in (\[[^]]+\]) %}\n<link rel=\"modulepreload\"", template)
    needed: set[Path] = set()
    waiting = [(folder / f"{entry}.js").resolve()]
    while waiting:
        script = waiting.pop()
        imported = {
            (script.parent / source).resolve()
            for source in _LOADED.findall(script.read_text("utf-8"))
        }
        waiting += imported - needed
        needed |= imported
    assert set(re.findall(r"'([^']+)'", names)) == {
        script.relative_to(folder).with_suffix("").as_posix() for script in needed
    }
