"""A sign-in that ends: told before, gone on with in place, and what was begun is still there."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pyotp
import sqlalchemy as sa
from axe_playwright_python.sync_playwright import Axe

from app.cookies import SESSION
from app.db import now
from app.models import SecondFactor, SignIn, User
from app.models.people.identity import Identity
from app.models.people.user import DEMO_PASSWORD


def end(database, name: str, **after: timedelta) -> None:
    """Move when the sign-ins of a person were seen last, or end."""
    with database.transaction() as session:
        own = SignIn.user_id == User.require(session, name).id
        for column, moment in after.items():
            session.execute(sa.update(SignIn).where(own).values({column: now() + moment}))


def test_the_end_of_a_sign_in_is_told_and_a_form_goes_on_after_it(
    open_as, database, newcomer, installation
):
    page = open_as(newcomer, at="/account")
    page.clock.install()
    page.reload()
    ending = page.locator("[data-ending]")
    assert ending.inner_text() == ""
    end(database, newcomer, seen_at=-timedelta(minutes=111), expires_at=timedelta(hours=5))
    page.clock.fast_forward(111 * 60 * 1000)  # a computer that slept
    ending.get_by_text("unless you go on").wait_for()
    ending.get_by_role("button", name="Stay signed in").focus()
    page.keyboard.press("Enter")
    ending.get_by_role("button").first.wait_for(state="detached")
    with database.reading() as session:
        [row] = SignIn.of(session, User.require(session, newcomer), 2.0)
        assert now() - row.seen_at < timedelta(minutes=1)

    page.fill("#old", DEMO_PASSWORD)
    page.fill("#new", "another password")
    page.fill("#again", "another password")
    end(database, newcomer, expires_at=-timedelta(seconds=1))
    page.press("#again", "Enter")
    dialog = page.locator("dialog[open]")
    dialog.get_by_text(f"it goes on as {newcomer}").wait_for()
    assert page.evaluate("document.activeElement.name") == "password"
    dialog.locator("[name=password]").fill(DEMO_PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_text("Your password is changed.").wait_for()

    key = Path(installation.environment["HEPATICA_INSTALLATION_KEY_FILE"]).read_bytes().strip()
    with database.transaction() as session:
        user = User.require(session, newcomer)
        factor = SecondFactor.begin(session, user, key)
        app = pyotp.TOTP(factor.enrolment(user, key).secret)
        factor.confirmed_at = now()
    end(database, newcomer, expires_at=-timedelta(seconds=1))
    page.fill("#old", "another password")
    page.fill("#new", DEMO_PASSWORD)
    page.fill("#again", DEMO_PASSWORD)
    page.press("#again", "Enter")
    dialog.locator("[name=password]").fill("another password")
    page.keyboard.press("Enter")
    dialog.get_by_text("six digits").wait_for()
    assert page.evaluate("document.activeElement.autocomplete") == "one-time-code"
    assert Axe().run(page).response["violations"] == []
    page.keyboard.type("000000")
    page.keyboard.press("Enter")
    dialog.get_by_text("This code is not good now").wait_for()
    dialog.locator("[name=code]").fill(app.now())
    page.keyboard.press("Enter")
    page.get_by_text("Your password is changed.").wait_for()
    with database.transaction() as session:
        SecondFactor.remove(session, User.require(session, newcomer), newcomer)


def test_who_signs_in_at_the_hospital_comes_back_to_a_page_that_goes_on(
    open_as, database, newcomer, installation
):
    """The provider's pages are another tab; what they come to is arranged past them."""
    with database.transaction() as session:
        user = User.require(session, newcomer)
        Identity.join(session, user, "https://idp.example", newcomer, "tests")
    page = open_as(newcomer, at="/account")
    page.clock.install()
    page.reload()
    end(database, newcomer, expires_at=-timedelta(seconds=1))
    page.clock.fast_forward(13 * 3600 * 1000)
    page.get_by_text("Your sign-in has ended.").wait_for()
    page.get_by_role("button", name="Sign in again").click()
    dialog = page.locator("dialog[open]")
    link = dialog.get_by_role("link", name="Sign in with your hospital account (new tab)")
    assert link.get_attribute("href") == "/sessions/oidc?next=/account"
    with database.transaction() as session:
        secret = SignIn.begin(session, User.require(session, newcomer), 1.0)
    cookie = {"name": SESSION, "value": secret, "url": installation.address}
    page.context.add_cookies([cookie])
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    dialog.wait_for(state="detached")
    page.get_by_text("Your sign-in has ended.").wait_for(state="detached")
