"""A case with two lesions, the wire between page and server, and what is stored at its end."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable

import numpy as np
import sqlalchemy as sa

import studies
from app.db import Database
from app.models import Case
from factories import hidden_fields, make_dicom, make_hu, make_zip

FRAGMENT = {"x-fragment": "1"}


class Wire:
    """Every request of a page whose address and method fit goes as ``way`` says.

    ``pass`` lets it through, ``hold`` keeps it until ``release``, ``fail`` loses it before the
    server has it, ``lose`` loses the server's answer.
    """

    def __init__(self, page, pattern: str, method: str, way: str = "pass"):
        self.way, self.method, self.held, self.seen = way, method, [], 0
        self._page = page
        page.route(re.compile(pattern), self._meet)

    def _meet(self, route) -> None:
        if route.request.method != self.method:
            route.fallback()
            return
        self.seen += 1
        if self.way == "hold":
            self.held.append(route)
        elif self.way == "fail":
            route.abort()
        elif self.way == "lose":
            route.fetch()
            route.abort()
        else:
            route.continue_()

    def wait_for_one(self) -> None:
        """Until the page has sent a request that is held."""
        while not self.held:
            self._page.wait_for_timeout(20)

    def release(self, way: str = "pass") -> None:
        """Let what is held, and what follows, go that way."""
        self.way = way
        held, self.held = self.held, []
        for route in held:
            route.abort() if way == "fail" else route.continue_()


class TwoLesions:
    """A case of four slices with lesion 1 on slice 1 and lesion 2 on slice 3, open in a page.

    ``more(word)``: further files of the study and patient that are named by the word.
    """

    def __init__(
        self,
        page,
        installation,
        lesions: int = 2,
        more: Callable[[str], list[bytes]] = lambda _: [],
    ):
        self.page, self.address = page, installation.address
        self._database = Database(installation.environment["HEPATICA_DATABASE_URL"])
        word = uuid.uuid4().hex
        slices = {f"{n}.dcm": self._slice(word, n) for n in range(4)}
        slices |= {f"more/{n}.dcm": data for n, data in enumerate(more(word))}
        self.id = self._upload(make_zip(slices))
        listed = page.request.get(f"{self.address}/cases/{self.id}").text()
        self.images: list[str] = re.findall(r'data-image="([^"]+)"', listed)
        self.lesions = [self.mark(self.images[2 * n], 30 + 20 * n) for n in range(lesions)]

    def close(self) -> None:
        """Take the case away, so that the work list stays short for the tests that follow."""
        with self._database.transaction() as session:
            if case := session.get(Case, uuid.UUID(self.id)):
                studies.remove(session, case)
        self._database.engine.dispose()

    @staticmethod
    def _slice(word: str, n: int) -> bytes:
        hu = make_hu(n) + np.int16(n)
        return make_dicom(hu, study=word, number=n + 1, z=5.0 * n, patient_id=word)

    def _post(self, path: str, **more):
        reply = self.page.request.post(
            self.address + path, headers={"origin": self.address, **FRAGMENT}, **more
        )
        assert reply.ok, reply.text()
        return reply

    def _upload(self, data: bytes) -> str:
        reply = self.page.request.post(
            f"{self.address}/cases",
            headers={"origin": self.address, "accept": "application/json"},
            multipart={
                "contrast_phase": "portal",
                "files": {"name": "a.zip", "mimeType": "application/zip", "buffer": data},
            },
        )
        return str(reply.json()["accepted"][0]["case_id"])

    def mark(self, image: str, x: float, side: float = 24) -> str:
        """Mark a lesion past the page, as a colleague would; its id."""
        form = {"x": str(x), "y": "40", "width": str(side), "height": str(side)}
        return json.loads(self._post(f"/images/{image}/lesions", form=form).headers["x-lesion"])[
            "id"
        ]

    def withdraw(self, lesion: str) -> None:
        """Withdraw a lesion past the page, as another tab would."""
        panel = self.page.request.get(f"{self.address}/lesions/{lesion}", headers=FRAGMENT).text()
        self._post(f"/lesions/{lesion}/withdrawal", form=hidden_fields(panel, "data-withdrawal"))

    def open(self, lesion: int = 1) -> None:
        """The case page at that lesion, its panel and its slice there."""
        self.page.goto(f"{self.address}/cases/{self.id}?lesion={self.lesions[lesion - 1]}")
        self.wait_for_panel(lesion)
        self.wait_for_slice(2 * lesion - 1)

    def wait_for_panel(self, number: int) -> None:
        self.page.locator(f"[data-panel][data-number='{number}']").wait_for()

    def wait_for_slice(self, number: int) -> None:
        self.page.wait_for_function(
            "(text) => document.querySelector('[data-hud=slice]').textContent === text",
            arg=f"slice {number}/4",
        )

    def corner_of(self, number: int) -> tuple[float, float, float]:
        """Where the lower right corner of a lesion's box is on the screen: x, y; and how many of
        its pixels one of the slice takes."""
        x, y, zoom = self.page.evaluate(
            """(id) => {
              const data = JSON.parse(document.getElementById('case-data').textContent);
              const [x, y, w, h] = data.lesions.find((one) => one.id === id).box;
              const r = document.getElementById('slice').getBoundingClientRect();
              const zoom = Math.min(r.width, r.height) / 128;
              return [r.x + r.width / 2 + (x + w - 64) * zoom,
                      r.y + r.height / 2 + (y + h - 64) * zoom, zoom];
            }""",
            self.lesions[number - 1],
        )
        return x, y, zoom

    def go_to(self, number: int, by: str) -> None:
        """Ask for a lesion by its key or by a click in the list."""
        if by == "keys":
            self.page.focus("#slice")
            self.page.keyboard.press("]" if number == 2 else "[")
        else:
            self.page.click(f"[data-lesion='{self.lesions[number - 1]}']")

    def wait_until_it_listens(self) -> None:
        """Until the keys of the review are taken: a moment after a draft was restored."""
        self.page.locator("#lesion-panel .is-listening").wait_for()

    def give(self, lesion_class: int, confidence: int, by: str) -> None:
        """Class, confidence and save, by keys, or by clicks as far as there is what to click."""
        if by == "keys":
            self.page.keyboard.press(str(lesion_class))
            self.page.keyboard.press(str(confidence))
            self.page.keyboard.press("Enter")
            return
        for target in (
            f"[name=lesion_class][data-key='{lesion_class}']",
            f"[name=confidence][data-key='{confidence}']",
            "[data-save]",
        ):
            spot = self.page.locator(f"#lesion-panel {target}")
            if spot.count():
                spot.click(force=True)

    def draw(self, start: float = -0.1, end: float = 0.1, tool: str = "b") -> None:
        """A box by B or another key, and a drag about the middle; shares of the stage's height."""
        box = self.page.locator("#slice").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.page.focus("#slice")
        self.page.keyboard.press(tool)
        self.page.mouse.move(x + start * box["height"], y + start * box["height"])
        self.page.mouse.down()
        self.page.mouse.move(x, y)
        self.page.mouse.move(x + end * box["height"], y + end * box["height"])
        self.page.mouse.up()

    def unsent(self) -> str:
        """What the page says of what is not stored."""
        self.page.locator("#unsent .flash").first.wait_for()
        return self.page.inner_text("#unsent")

    def wait_for_told(self, text: str) -> None:
        self.page.locator("#panel-says", has_text=text).wait_for()

    def reviews(self) -> list[tuple[int, str, int]]:
        """(lesion's number, class, confidence) of every review that is stored, the oldest first."""
        return self._rows(
            "SELECT l.number, r.lesion_class, r.confidence FROM review r "
            "JOIN lesion l ON l.id = r.lesion_id WHERE l.case_id = :case ORDER BY r.created_at"
        )

    def standing(self) -> list[int]:
        """Numbers of the lesions that stand."""
        return [
            row[0]
            for row in self._rows(
                "SELECT number FROM lesion WHERE case_id = :case AND withdrawn_at IS NULL "
                "ORDER BY number"
            )
        ]

    def slices_of(self) -> dict[int, int]:
        """Lesion's number → number of its slice, withdrawn ones included."""
        rows = self._rows("SELECT number, image_id FROM lesion WHERE case_id = :case")
        return {n: self.images.index(str(uuid.UUID(image))) + 1 for n, image in rows}

    def _rows(self, query: str):
        with self._database.reading() as session:
            rows = session.execute(sa.text(query), {"case": uuid.UUID(self.id).hex})
            return [tuple(row) for row in rows]
