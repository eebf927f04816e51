"""Which PACS there are is a setting; what is wrong with an entry is told by entry and field."""

from __future__ import annotations

import json

import pytest

from app.errors import NotFound
from app.pacs.configured import ConfiguredPacs, PacsRefused, PacsSettings
from app.settings import Settings
from serving import command_here

URL = "https://pacs.example.org/dicom-web"


def configured(told: object) -> ConfiguredPacs:
    text = told if isinstance(told, str) else json.dumps(told)
    return ConfiguredPacs.of(Settings(pacs=text))


def test_none_is_configured_unless_a_setting_names_it():
    assert len(ConfiguredPacs.of(Settings())) == 0
    with pytest.raises(NotFound, match="HEPATICA_PACS"):
        ConfiguredPacs.of(Settings()).named()


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://p.example.org", "https://p.example.org"),
        ("https://P.example.org/", "https://p.example.org"),
        ("https://p.example.org:8443/a/b/", "https://p.example.org:8443/a/b"),
        ("http://p:8042/dicom-web//", "http://p:8042/dicom-web"),
        ("http://[::1]:8042/rs", "http://[::1]:8042/rs"),
    ],
)
def test_addresses_may_have_a_port_a_path_and_a_slash_at_the_end(given, kept):
    assert PacsSettings(name="a", url=given).url == kept


def test_a_file_names_them_and_where_their_secrets_are(tmp_path, monkeypatch):
    (tmp_path / "secret").write_text("swordfish\n")
    monkeypatch.setenv("TOKEN_OF_THE_ARCHIVE", "a-token")
    path = tmp_path / "pacs.toml"
    path.write_text(f"""
        [[pacs]]
        name = "main"
        url = "{URL}"
        user = "hepatica"
        password_file = "{tmp_path}/secret"
        aet = "ARCHIVE"
        [[pacs]]
        name = "research"
        url = "http://127.0.0.1:8042/dicom-web/"
        token_variable = "TOKEN_OF_THE_ARCHIVE"
        total_s = 20
    """)
    found = configured(str(path))
    assert found.names == ["main", "research"]
    main, research = found.named(), found.named("research")
    assert main.authorization() == "Basic aGVwYXRpY2E6c3dvcmRmaXNo"
    assert main.dicom_address == ("pacs.example.org", 104)
    assert (research.authorization(), research.total_s) == ("Bearer a-token", 20.0)
    assert research.dicom_address is None
    (tmp_path / "secret").write_text("changed")
    assert main.authorization() == "Basic aGVwYXRpY2E6Y2hhbmdlZA=="
    assert "swordfish" not in repr(main) + str(found.all)
    with pytest.raises(NotFound, match="There is: main, research"):
        found.named("other")


REFUSED = [
    ([{"name": "a"}], "entry 1 (a): url: it is missing"),
    ([{"url": URL}], "entry 1: name: it is missing"),
    ([{"name": "A b", "url": URL}], "entry 1 (A b): name: it may have"),
    ([{"name": "a", "url": URL}, {"name": "a", "url": URL}], "entry 2 (a): name: another entry"),
    ([{"name": "a", "url": "pacs.example.org"}], "url: it must be such as https://"),
    ([{"name": "a", "url": "ftp://pacs"}], "url: it must be such as https://"),
    ([{"name": "a", "url": "https://me:word@pacs"}], "url: user and password have fields"),
    ([{"name": "a", "url": f"{URL}?x=1"}], "url: it can have no ?"),
    ([{"name": "a", "url": "https://pacs:99999/"}], "url: its port is no number"),
    ([{"name": "a", "url": URL, "verify": False}], "verify: there is no such field"),
    ([{"name": "a", "url": URL, "user": "x"}], "user is given without password"),
    ([{"name": "a", "url": URL, "password": "x"}], "password is given without user"),
    ([{"name": "a", "url": URL, "token": "x", "token_file": "y"}], "both given"),
    ([{"name": "a", "url": URL, "user": "u", "token": "x"}], "token needs none"),
    ([{"name": "a", "url": URL, "token_variable": "NO_SUCH_ONE"}], "token_variable is empty"),
    ([{"name": "a", "url": URL, "token_file": "/nowhere/x"}], "token_file /nowhere/x cannot be"),
    ([{"name": "a", "url": URL, "ca_bundle": "/nowhere/x"}], "ca_bundle: /nowhere/x cannot be"),
    ([{"name": "a", "url": URL, "ca_bundle": __file__}], "holds no certificates in PEM form"),
    ([{"name": "a", "url": URL, "total_s": 0}], "total_s: Input should be greater than 0"),
    ([{"name": "a", "url": URL, "aet": "a name that is too long"}], "aet: String should match"),
    ([{"name": "a", "url": URL, "dicom_host": "pacs"}], "dicom_host is given without aet"),
    (["a"], "entry 1 is no table"),
    ('[{"name": "a",', "no list in JSON (character"),
    ("/nowhere/pacs.toml", "/nowhere/pacs.toml, which cannot be read: no such file"),
]


@pytest.mark.parametrize(("told", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_a_bad_entry_is_refused_by_entry_and_field(told, words):
    with pytest.raises(PacsRefused, match=r"^HEPATICA_PACS") as refused:
        configured(told)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ('{"name": "a", "url": "http://x", "password": "swordfish"}', "put [ and ] around it"),
        ('[{"name": "a", "name": "b", "url": "http://x"}]', "name twice"),
        ("[" * 100_000, "nested too deeply"),
        ('[{"name": "a", "url": "http://x", "takes_results": "yes"}]', "takes_results: "),
        ('[{"name": "a", "url": "http://x", "total_s": true}]', "total_s: "),
    ],
    ids=["one", "twice", "deep", "yes", "true"],
)
def test_odd_json_is_refused_and_no_secret_is_told(told, words):
    with pytest.raises(PacsRefused, match=r"^HEPATICA_PACS") as refused:
        configured(told)
    assert words in str(refused.value)
    assert "swordfish" not in str(refused.value)


def test_a_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "pacs.toml"
    for text, words in (("name =", "is no TOML (at"), ('x = 1\n[[pacs]]\nname="a"', "[[pacs]]"),
                        ('pacs = "a"', "[[pacs]]"), ("\udc80", "UTF-8")):  # fmt: skip
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(PacsRefused, match="HEPATICA_PACS") as refused:
            configured(str(path))
        assert words in str(refused.value)


def test_the_server_does_not_start_with_a_bad_entry(tmp_path, monkeypatch):
    monkeypatch.setenv("HEPATICA_PACS", '[{"name": "main", "url": "pacs"}]')
    done = command_here(f"sqlite:///{tmp_path}/none.sqlite3", tmp_path, "serve")
    assert done.returncode == 1
    assert "HEPATICA_PACS, entry 1 (main): url: it must be such as" in done.stderr
    assert not (tmp_path / "none.sqlite3").exists()
