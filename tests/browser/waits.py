"""Waiting for a page to say something, or to have what was typed; a busy browser loses keys."""

from __future__ import annotations

import re


def wait_until_it_says(page, selector: str, words: str | re.Pattern[str], *beside: str) -> None:
    """Wait until a part of the page is seen and says the words (the page's policy forbids eval).

    ``beside``: selectors of what a failure quotes too.
    """
    from playwright.sync_api import TimeoutError as TookTooLong

    try:
        page.locator(selector, has_text=words).wait_for()
    except TookTooLong:
        said = {
            one: page.locator(one).filter(visible=True).all_inner_texts()
            for one in (selector, *beside)
        }
        raise AssertionError(f"waited at {page.url} for {words}; the page says {said}") from None


def type_all_of(page, words: str) -> None:
    """Type words into the field that has the focus, again where the browser lost a key."""
    for _ in range(3):
        page.keyboard.type(words)
        if page.locator(":focus").input_value() == words:
            return
        page.keyboard.press("Control+a")
    raise AssertionError(f"{words!r} was typed three times and never came whole")
