"""One's own account, and the patterns of those who build the pages."""

from __future__ import annotations

from starlette.testclient import TestClient


def test_the_own_account_shows_its_name_and_is_closed_to_strangers(client, signed_in_as):
    assert "ada" in signed_in_as("reader", name="ada").get("/account").text
    assert client.get("/account").headers["location"].startswith("/sessions/new")


def test_the_patterns_are_shown_in_development_only(app, signed_in_as):
    reader = signed_in_as("reader")
    assert reader.get("/patterns").status_code == 404
    app.state.settings = app.state.settings.model_copy(update={"development": True})
    assert reader.get("/patterns").status_code == 200
    assert TestClient(app).get("/patterns").status_code == 200
