"""Refusals of forms name the field that they are about, so that the page says it there."""

from __future__ import annotations

import uuid

import pytest

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
