"""Refusals of forms name the field that they are about, so that the page says it there."""

from __future__ import annotations

import re
import uuid

import pytest

from app import place
from app.errors import Unreadable
from app.models.reader_studies.design import Design

STAYS = {"x-stays": "1"}
NOWHERE = str(uuid.uuid4())

FORMS = [
    ("admin", "/users", {"name": "a b", "password": "long enough"}, "name"),
    ("admin", "/users", {"name": "eve", "password": "short"}, "password"),
    ("admin", "/users", {"name": "eve", "role": "queen", "password": "long enough"}, "role"),
    ("reader", "/account/password", {"old": "x", "new": "long enough", "again": "y"}, "again"),
    ("reader", "/account/password", {"old": "x", "new": "other one", "again": "other one"}, "old"),
    ("researcher", "/datasets", {"name": "No", "kind": "phantom"}, "name"),
    ("researcher", "/datasets", {"name": "no", "kind": "none"}, "kind"),
    ("researcher", "/datasets", {"name": "no", "kind": "phantom"}, "kind"),
    ("researcher", "/runs", {"dataset": "z", "preset": "quick"}, "dataset"),
    ("researcher", "/runs", {"dataset": NOWHERE, "preset": "quick", "seeds": "x"}, "seeds"),
]  # fmt: skip


@pytest.mark.parametrize(("role", "address", "typed", "field"), FORMS)
def test_a_refusal_names_its_field_and_says_there_what_the_page_would(
    signed_in_as, role, address, typed, field
):
    browser = signed_in_as(role)
    refused = browser.post(address, data=typed, headers=STAYS)
    told = refused.json()
    assert refused.status_code == 422
    named = {one["field"]: one["message"] for one in told["errors"]}
    assert field in named
    assert named[field] in told["detail"]


@pytest.mark.parametrize(
    ("source", "form"),
    [
        ("reader_studies/design.py", "sketches/show.html"),
        ("reader_studies/graded.py", "sketches/show.html"),
        ("reader_studies/intent.py", "sketches/show.html"),
        ("cases/review.py", "lesions/_panel.html"),
    ],
)
def test_fields_that_a_refusal_names_are_in_the_form(source, form):
    told = (place.ROOT / "app/models" / source).read_text("utf-8")
    page = (place.ROOT / "templates" / form).read_text("utf-8")
    found = [
        name
        for call in re.findall(r"\.about\(([^)]*)\)", told)
        for name in re.findall(r'"(\w+)"', call)
    ]
    assert found
    for name in found:
        assert re.search(rf"""(?:name="|forms\.\w+\(')({name})\b""", page), name


def test_a_refused_design_names_what_is_wrong_with_it():
    with pytest.raises(Unreadable) as refused:
        Design(margin=0.9).checked(20)
    [told] = refused.value.more["errors"]
    assert told["field"] == "margin"
    assert "0.9" in told["message"]
