"""Waiting for a page to say something; a failure tells what it says instead."""

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
