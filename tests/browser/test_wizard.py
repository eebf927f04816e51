"""The wizard in a real browser: Back, reload, a copied address and a second tab lose nothing."""

from __future__ import annotations

import pytest

from tests.browser.test_pages import overflows, serious_faults


@pytest.fixture
def page(open_as, installation):
    page = open_as("researcher")
    page.goto(f"{installation.address}/reader-studies/new")
    return page


def kept(page):
    """Wait until what was typed is on the server."""
    page.locator("[data-kept-words]", has_text="Kept.").wait_for()


def leave(page, name):
    page.get_by_role("button", name=f"Next: {name}").click()
    page.wait_for_url(f"**/{ {'Conduct and analysis': 'conduct'}.get(name, name.lower()) }")


def eventually(page, address, words):
    """A link of a page: what is sent as a page is left may reach the server after the next one."""
    link = page.get_by_role("link", name=words).first
    for _ in range(120):
        page.goto(address)
        if link.count():
            break
        page.wait_for_timeout(250)
    return link


def test_what_was_typed_before_the_script_was_there_is_kept(page, installation):
    """A slow network: the page is there, its script is not yet."""
    held = []
    page.route("**/wizard.js*", lambda route: held.append(route))
    page.goto(f"{installation.address}/reader-studies/new", wait_until="commit")
    page.fill("[name=title]", "Typed early")
    assert len(held) == 1
    held[0].continue_()
    kept(page)
    page.unroute("**/wizard.js*")
    page.reload()
    assert page.input_value("[name=title]") == "Typed early"


def test_a_step_that_is_only_looked_at_stores_nothing(page):
    page.fill("[name=title]", "Looked at")
    kept(page)
    stored = []
    page.on("request", lambda one: stored.append(one.url) if one.method == "POST" else None)
    for name in ("Images", "Reading"):
        leave(page, name)
        stored.clear()
        page.wait_for_timeout(900)  # longer than the wizard waits before it stores
        assert stored == []
        if name == "Images":
            page.fill("[name=real]", "6")
            page.fill("[name=synthetic]", "6")


def test_back_reload_and_a_copied_address_show_what_was_typed(page):
    page.fill("[name=title]", "Typed in a browser")
    page.check("[name=preset][value=own]")
    kept(page)
    assert page.url.endswith("/design")
    page.reload()
    assert page.input_value("[name=title]") == "Typed in a browser"
    assert page.is_checked("[name=preset][value=own]")
    leave(page, "Images")
    page.fill("[name=real]", "6")
    page.fill("[name=synthetic]", "6")
    leave(page, "Reading")
    page.go_back()
    page.wait_for_url("**/images")
    assert page.input_value("[name=real]") == "6"
    page.go_back()
    page.wait_for_url("**/design")
    assert page.input_value("[name=title]") == "Typed in a browser"
    page.go_forward()
    page.go_forward()
    page.wait_for_url("**/reading")
    copied = page.context.new_page()
    copied.goto(page.url)
    assert "Hidden repeats" in copied.inner_text("main")
    copied.close()


def test_what_was_typed_and_not_sent_is_there_after_leaving_by_a_link(page, installation):
    page.fill("[name=title]", "Left in a hurry")
    page.click("a:has-text('Cases')")
    page.wait_for_url("**/cases")
    eventually(page, f"{installation.address}/reader-studies", "Left in a hurry").click()
    assert page.input_value("[name=title]") == "Left in a hurry"


def test_without_the_network_it_says_that_nothing_is_kept(page):
    page.fill("[name=title]", "Before")
    kept(page)
    page.context.set_offline(True)
    page.fill("[name=title]", "After")
    page.locator("[data-kept-words]", has_text="Not kept").wait_for()
    page.context.set_offline(False)
    page.type("[name=title]", "!")
    kept(page)
    page.reload()
    assert page.input_value("[name=title]") == "After!"


def test_a_second_tab_is_told_what_the_first_typed(page):
    page.fill("[name=title]", "Two tabs")
    kept(page)
    other = page.context.new_page()
    other.goto(page.url)
    other.fill("[name=title]", "Changed there")
    kept(other)
    page.fill("[name=title]", "Changed here")
    page.locator("[data-kept-words]", has_text="changed in another tab").wait_for()
    page.get_by_role("button", name="Next: Images").click()
    page.locator("[role=alert]", has_text="Changed there").wait_for()
    assert page.input_value("[name=title]") == "Changed here"
    leave(page, "Images")
    other.reload()
    assert other.input_value("[name=title]") == "Changed here"
    other.close()


def test_an_answer_that_is_lost_makes_no_other_tab_and_no_second_sketch(page, installation):
    lost = []

    def lose(route):
        if route.request.method == "POST" and not lost:
            lost.append(route.fetch().status)
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route("**/reader-studies/sketches*/**", lose)
    page.route("**/reader-studies/sketches", lose)
    said = page.locator("[data-kept-words]", has_text="the server cannot be reached")
    page.fill("[name=title]", "Lost once")
    said.wait_for()
    page.fill("[name=title]", "Lost once, begun once")
    kept(page)
    lost.clear()
    page.fill("[name=title]", "Lost once, and again")
    said.wait_for()
    page.fill("[name=title]", "Lost twice, begun once")
    kept(page)
    assert len(lost) == 1
    page.reload()
    assert page.input_value("[name=title]") == "Lost twice, begun once"
    page.goto(f"{installation.address}/reader-studies")
    assert page.get_by_role("link", name="begun once").count() == 1
    assert page.get_by_role("link", name="Lost once").count() == 0


@pytest.mark.long
def test_every_step_fits_and_is_accessible_and_composes(page):
    page.fill("[name=title]", "Composed in a browser")
    page.check("[name=preset][value=own]")
    for name in ("Images", "Reading", "Conduct and analysis", "Check"):
        assert serious_faults(page) == []
        assert not overflows(page)
        leave(page, name)
    assert serious_faults(page) == []
    assert not overflows(page)
    page.get_by_role("button", name="Design", exact=True).click()
    page.wait_for_url("**/design")
    page.get_by_role("button", name="Check", exact=True).click()
    page.get_by_role("button", name="Compose").click()
    page.locator("h1", has_text="Composed in a browser").wait_for()
    page.goto(page.url.rpartition("/")[0])
    assert serious_faults(page) == []
    assert not overflows(page)


def test_without_scripts_the_steps_keep_what_was_typed(open_as, installation):
    page = open_as("researcher", scripts=False)
    page.goto(f"{installation.address}/reader-studies/new")
    page.fill("[name=title]", "No scripts")
    page.check("[name=preset][value=own]")
    leave(page, "Images")
    page.fill("[name=real]", "7000")
    page.get_by_role("button", name="Next: Reading").click()
    assert "from 1 to 1000" in page.inner_text("[role=alert]:visible")
    page.reload()
    assert page.input_value("[name=real]") == "7000"


def test_a_form_that_is_refused_or_not_answered_stays_with_what_was_typed(open_as, installation):
    """One form of many: by the server's refusal, without a network, and then taken."""
    page = open_as("admin", at="/users")
    alert = page.locator("main form [role=alert]")
    page.fill("[name=name]", "new person")
    page.fill("[name=password]", "short")
    page.locator("main form").evaluate("form => { form.noValidate = true; }")
    page.get_by_role("button", name="account").click()
    alert.wait_for()
    assert page.input_value("[name=name]") == "new person"
    assert page.url.endswith("/users")
    assert serious_faults(page) == []
    page.context.set_offline(True)
    page.fill("[name=password]", "correct horse battery")
    page.get_by_role("button", name="account").click()
    page.locator("main form [role=alert]", has_text="did not answer").wait_for()
    assert alert.count() == 1
    assert page.input_value("[name=password]") == "correct horse battery"
    page.context.set_offline(False)
    page.fill("[name=name]", "new-person")
    page.get_by_role("button", name="account").click()
    page.locator(".flashes", has_text="Account new-person was made").wait_for()
