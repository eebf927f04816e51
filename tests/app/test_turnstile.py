"""Sign-ins at the same moment: never more tries than the limit, and nobody held up by a flood."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from app.db import Database
from app.errors import TooMany, Unavailable, Unreadable
from app.models import Event, Tally, User
from app.models.people.tally import TRIES_OF_A_NAME, Origin
from app.turnstile import (
    MOST_OF_ONE,
    MOST_WAITING,
    Attempt,
    Turnstile,
    known_with,
    knows,
    source_of,
)

KEY = b"a key for tests, thirty-two characters or more"


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/tally.sqlite3"
    else:
        url = request.getfixturevalue("postgres")
    made = Database(url)
    made.migrate()
    yield made
    made.engine.dispose()


def test_tries_at_the_same_moment_never_pass_the_limit(database):
    origin = Origin("203.0.113.9", "203.0.113.9")

    def claim(_number: int) -> bool:
        try:
            with database.transaction() as session:
                Tally.claim(session, KEY, "ada", origin)
        except TooMany:
            return False
        return True

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(claim, range(60))) == TRIES_OF_A_NAME


def test_refusals_at_the_same_moment_are_all_counted_and_none_is_a_fault(database):
    with database.transaction() as session:
        User.add(session, "ada", "reader", "correct horse")

    def refused(number: int) -> None:
        address = f"203.0.113.{number % 7}"
        origin = Origin(address, address)
        with database.transaction() as session:
            Tally.claim(session, KEY, f"name{number}", origin)
        with database.transaction() as session:
            Tally.tell(session, KEY, None, f"name{number}", origin)

    with ThreadPoolExecutor(14) as pool:
        list(pool.map(refused, range(70)))
    with database.reading() as session:
        counted = sa.select(sa.func.sum(Tally.tries)).where(Tally.account == "")
        assert session.scalar(counted) == 70


def test_old_passwords_tried_at_the_same_moment_never_pass_the_limit(database, monkeypatch):
    from app import turnstile as module

    looked_at = []
    monkeypatch.setattr(module, "fits", lambda old, stored: bool(looked_at.append(old)))
    with database.transaction() as session:
        ada = User.add(session, "ada", "reader", "correct horse")
    processes = [Turnstile(database, KEY, 1.0) for _ in range(4)]

    async def all_at_once() -> list[BaseException | str]:
        tries = (
            one.new_password(ada, f"guess {n}", "battery staple")
            for n in range(MOST_OF_ONE)
            for one in processes
        )
        return await asyncio.gather(*tries, return_exceptions=True)

    refused = asyncio.run(all_at_once())
    assert len(looked_at) == TRIES_OF_A_NAME
    assert sum(isinstance(one, Unreadable) for one in refused) == TRIES_OF_A_NAME
    assert sum(isinstance(one, TooMany) for one in refused) == len(refused) - TRIES_OF_A_NAME
    with database.reading() as session:
        kinds = [event.kind for event in session.scalars(sa.select(Event))]
    assert kinds.count("password change refused") == TRIES_OF_A_NAME


def waiting(turnstile: Turnstile, attempts: list[Attempt]) -> list[BaseException | object]:
    async def all_at_once():
        return await asyncio.gather(
            *(turnstile.sign_in(one) for one in attempts), return_exceptions=True
        )

    return asyncio.run(all_at_once())


def test_a_flood_from_one_source_takes_few_places(database, monkeypatch):
    from app import turnstile as module

    hashing = []
    monkeypatch.setattr(module, "fits", lambda password, stored: hashing.append(1) or False)
    turnstile = Turnstile(database, KEY, 1.0)
    flood = [Attempt(f"name{n}", "x", "203.0.113.9", "203.0.113.9") for n in range(100)]
    outcomes = waiting(turnstile, flood)
    turned_away = [one for one in outcomes if isinstance(one, TooMany)]
    assert len(turned_away) == 100 - MOST_OF_ONE
    assert all(int(one.headers["retry-after"]) >= 1 for one in turned_away)
    assert len(hashing) == MOST_OF_ONE


def test_a_flood_from_everywhere_leaves_room_for_known_browsers(database, monkeypatch):
    from app import turnstile as module

    with database.transaction() as session:
        User.add(session, "ada", "reader", "correct horse")
    let_go = threading.Event()

    def fits(password: str, stored: str | None) -> bool:
        let_go.wait(30)
        return password == "right"

    monkeypatch.setattr(module, "fits", fits)
    turnstile = Turnstile(database, KEY, 1.0)
    flood = [Attempt("ada", "x", f"203.0.{n}.9", f"203.0.{n}.9") for n in range(100)]
    device = known_with(KEY, "", "ada")
    owner = Attempt("ada", "right", "203.0.1.9", "203.0.1.9", device=device)

    async def act():
        tasks = [asyncio.ensure_future(turnstile.sign_in(one)) for one in [*flood, owner]]
        while sum(task.done() for task in tasks) < 100 - MOST_WAITING:
            await asyncio.sleep(0.01)
        let_go.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    *outcomes, admitted = asyncio.run(act())
    assert sum(isinstance(one, Unavailable) for one in outcomes) == 100 - MOST_WAITING
    assert isinstance(admitted, module.Admitted)


def test_a_device_cookie_names_the_accounts_of_a_shared_browser_and_no_others():
    device = ""
    for number in range(25):
        device = known_with(KEY, device, f"reader{number}")
    assert len(device) < 1000
    assert knows(KEY, device, "reader24")
    assert knows(KEY, device, "reader5")
    assert not knows(KEY, device, "reader4")  # twenty, the newest
    assert not knows(KEY, device, "eve")
    assert not knows(b"another key of thirty-two characters", device, "reader24")
    nonce, tag = known_with(KEY, "", "ada").split(".")
    other = known_with(KEY, "", "eve").split(".")[0]
    assert not knows(KEY, f"{other}.{tag}", "ada")
    for garbage in ("", ".", "x" * 5000, nonce, f"{nonce}.", "ü" * 22 + "." + tag):
        assert not knows(KEY, garbage, "ada")


@pytest.mark.parametrize(
    ("client", "forwarded", "source"),
    [
        ("192.0.2.7", None, "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", None, "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", None, "192.0.2.7"),
        ("10.0.0.1", "203.0.113.9", "203.0.113.9 via 10.0.0.1"),
        ("10.0.0.1", "1.1.1.1, 203.0.113.9", "203.0.113.9 via 10.0.0.1"),
        ("10.0.0.1", "203.0.113.9:4711", "203.0.113.9 via 10.0.0.1"),
        ("10.0.0.1", "[2001:db8:1:2::1]:80", "2001:db8:1:2::/64 via 10.0.0.1"),
        ("203.0.113.9", "203.0.113.9", "203.0.113.9"),  # a named proxy said so
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("10.0.0.1", "\xff" * 100, "10.0.0.1"),
        (None, None, "unknown"),
    ],
)
def test_a_source_is_whom_tries_are_counted_against(client, forwarded, source):
    headers = [] if forwarded is None else [(b"x-forwarded-for", forwarded.encode("latin-1"))]
    scope = {"client": (client, 1) if client else None, "headers": headers}
    assert source_of(scope)[0] == source
