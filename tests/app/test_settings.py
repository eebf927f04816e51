"""Settings that could not work, or would show a secret, are refused at the start."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from app.settings import Settings


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        *(
            ("database_url", value, "no address of a database that is used here")
            for value in (
                "", "var/x.sqlite3", "'sqlite:///x'", "postgres://u@h/x", "postgresql+psycopg2://u@h/x",
                "mysql://x", "sqlite+aiosqlite:///x", "postgresql+psycopg://u@h:$PGPORT/x",
            )
        ),
        ("database_url", "postgresql+psycopg://h/x?user=u&password=Geheim", "has password among"),
        ("database_url", "postgresql+psycopg://h/x?sslpassword=Geheim", "has sslpassword among"),
        *(
            ("public_origin", value, "must be such as")
            for value in (
                "https://h.example.", "https://hepatica example.org", "https://h.example:abc",
                "https://:pw@h", "https://u@h", "https://*.example.org", "https://h:99999",
            )
        ),
        *(
            ("audit_syslog", value, "write it as HOST:PORT")
            for value in ("syslog..example.org:6514", "h:0", "h:99999", "h", "-h:1", "[::1]:0")
        ),
        *(("node_callers", value, "no AE title") for value in ("CT1;CT2", '"CT1"', "'CT1'")),
        ("hosts", "a..b", "no name of a host"),
    ],
)  # fmt: skip
def test_what_could_not_work_is_refused_by_name(name: str, value: str, why: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(**{name: value})
    said = str(refused.value.errors()[0]["msg"])
    assert why in said and f"HEPATICA_{name.upper()}" in said
    assert "Geheim" not in said


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("database_url", " sqlite:///var/x.sqlite3 ", "sqlite:///var/x.sqlite3"),
        ("database_url", "postgresql+psycopg://u:p@h/x?sslmode=require", None),
        ("database_url", "postgresql+psycopg:///x?host=/run/postgresql", None),
        ("public_origin", "https://M\u00fcnster.example/", "https://xn--mnster-3ya.example"),
        ("public_origin", "https://[::1]:8443", None),
        ("public_origin", "http://10.0.0.7:8000", None),
        ("audit_syslog", "[fe80::1]:6514", None),
        ("audit_syslog", "Syslog.example.org:6514", None),
        ("node_callers", "CT 1@10.0.0.0/24,ORTHANC", None),
    ],
)
def test_what_works_is_taken(name: str, value: str, kept: str | None) -> None:
    assert getattr(Settings(**{name: value}), name) == (value if kept is None else kept)
