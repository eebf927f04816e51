"""Unblinding by a researcher, on the page of the study."""

from __future__ import annotations

from app.models.reader_studies.unblinding import SHARED_WORD, WORD


def unblind(page) -> None:
    """Type what the page asks for, and come to the results.

    The tests of a process share an installation: any open study of another test may show images
    of this one, and then the page asks for a second word.
    """
    page.fill("#reason", "The reading is done.")
    page.fill("#typed", WORD)
    if page.locator("#shared").count():
        page.fill("#shared", SHARED_WORD)
    page.click("text=Unblind and close the study")
    page.wait_for_url("**/results")
