"""Who waits for whom while uploads and images are decoded."""

from __future__ import annotations

import asyncio
import io
import threading

import httpx
import pytest
from PIL import Image

from app import decoding
from app.decoding import MOST_OF_ONE, MOST_UPLOADS, UPLOADS_AT_ONCE, Decoding
from app.errors import AppError, TooMany, Unavailable
from app.routes.api import classifications
from app.uploads.parcel import Limits


class Work:
    """Decoding that lasts until it is let go; remembers how many were at it together."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self._lock = threading.Lock()
        self._now: list[str] = []
        self.together: list[list[str]] = []

    def of(self, whose: str):
        def act() -> str:
            with self._lock:
                self._now.append(whose)
                self.together.append(list(self._now))
            assert self.let_go.wait(30)
            with self._lock:
                self._now.remove(whose)
            return whose

        return act


async def begun(room: Decoding, work: Work, people: list[str]) -> list[asyncio.Task[str]]:
    tasks = [asyncio.create_task(room.of_upload(one, work.of(one))) for one in people]
    for _ in range(20):
        await asyncio.sleep(0.005)
    return tasks


def test_few_uploads_are_decoded_together_and_of_each_person_one() -> None:
    work, room = Work(), Decoding(Limits(9, 10**9, 10**9))
    people = ["a"] * MOST_OF_ONE + ["b", "c"]

    async def all_of_them() -> list[str]:
        tasks = await begun(room, work, people)
        work.let_go.set()
        return await asyncio.gather(*tasks)

    assert sorted(asyncio.run(all_of_them())) == sorted(people)
    assert max(len(now) for now in work.together) == UPLOADS_AT_ONCE
    assert all(len(now) == len(set(now)) for now in work.together)


@pytest.mark.parametrize(
    ("people", "refusal"),
    [
        (["a"] * (MOST_OF_ONE + 1), TooMany),
        ([f"p{n}" for n in range(MOST_UPLOADS + 1)], Unavailable),
    ],
)
def test_one_upload_too_many_is_refused_with_a_time_to_try_again(people, refusal) -> None:
    work, room = Work(), Decoding(Limits(9, 10**9, 10**9))

    async def all_of_them():
        tasks = await begun(room, work, people)
        work.let_go.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    found = asyncio.run(all_of_them())
    (refused,) = [one for one in found if isinstance(one, AppError)]
    assert isinstance(refused, refusal)
    assert int(refused.headers["retry-after"]) > 0
    assert len(found) == len(people)


def test_who_waited_in_vain_leaves_no_place_taken(monkeypatch) -> None:
    monkeypatch.setattr(decoding, "PATIENCE_S", 0.05)
    work, room = Work(), Decoding(Limits(9, 10**9, 10**9))

    async def all_of_them():
        first = await begun(room, work, ["a", "b"])
        with pytest.raises(Unavailable):
            await room.of_upload("c", work.of("c"))
        with pytest.raises(Unavailable):
            await room.of_upload("a", work.of("a"))
        work.let_go.set()
        await asyncio.gather(*first)
        return [await room.of_upload(one, work.of(one)) for one in ("c", "a", "b")]

    assert asyncio.run(all_of_them()) == ["c", "a", "b"]


@pytest.mark.parametrize("mode", ["1", "L"])
def test_few_bytes_that_are_many_pixels_never_hold_the_event_loop(
    client, token, monkeypatch, mode
) -> None:
    stream = io.BytesIO()
    Image.new(mode, (2048, 2048)).save(stream, "PNG", optimize=True)
    threads: list[str] = []
    read = classifications._found

    def watched(*arguments):
        threads.append(threading.current_thread().name)
        return read(*arguments)

    monkeypatch.setattr(classifications, "_found", watched)
    assert len(stream.getvalue()) < 10_000
    answer = client.post(
        "/api/v1/classifications",
        files={"image": ("wide.png", stream.getvalue())},
        data={"box": "100,100,50,50"},
        headers={"authorization": f"Bearer {token}"},
    )
    assert answer.status_code == httpx.codes.OK
    assert threads[0].startswith("image")


def test_memory_is_given_back_once_an_upload_is_stored(monkeypatch) -> None:
    given_back = threading.Event()
    monkeypatch.setattr(decoding, "_STORED_AFTER_S", 0.0)
    monkeypatch.setattr(decoding.memory, "give_back", given_back.set)
    room = Decoding(Limits(9, 10**9, 10**9))

    async def upload() -> bool:
        assert await room.of_upload("a", lambda: "stored") == "stored"
        return await asyncio.to_thread(given_back.wait, 30)

    assert asyncio.run(upload())
    monkeypatch.undo()
    decoding.memory.give_back()  # really, or nothing where the C library has no way to
