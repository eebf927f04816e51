"""The way in: every sign-in passes here, a few at a time, and holds nobody else up.

Passwords are hashed outside any transaction, one at a time in each of two lines; what the database
is asked before and after is short. Few tries wait, and fewer from one source, so a flood is turned
away at once. Browsers that have signed in to the account before have a line of their own, which no
stranger can fill; and the threads of all other requests stay free.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import secrets
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session
from starlette.types import Scope

from app import cookies
from app.db import Database
from app.errors import TooMany, Unauthorised, Unavailable, Unreadable
from app.models.ground.event import Event
from app.models.people.second_factor import SecondFactor
from app.models.people.sign_in import From, SignIn
from app.models.people.tally import Origin, Tally
from app.models.people.user import User, fits, hashed

log = logging.getLogger("hepatica")

MOST_WAITING = 32
"""Sign-ins under way in one line of one process."""
MOST_OF_ONE = 8
"""Of these, from one source; of known browsers, for one account."""

DEVICE_DAYS = 180
TICKET_S = 300
"""Seconds within which the second step follows the first."""
_MOST_ACCOUNTS = 20  # of one browser: a reading room shares its computers
_DEVICE = re.compile(rf"[\w-]{{22}}(\.[\w-]{{32}}){{1,{_MOST_ACCOUNTS}}}", re.ASCII)
_HEX = "[0-9a-f]"
_TICKET = re.compile(
    rf"({_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}})\.(\d{{1,12}})\.([\w-]{{32}})", re.ASCII
)

Found = TypeVar("Found")


@dataclass(frozen=True)
class Attempt:
    """A name and a password as they were sent, from where, and the cookies that came along."""

    name: str
    password: str
    source: str
    peer: str
    device: str = ""
    session: str = ""
    browser: str = ""


@dataclass(frozen=True)
class HalfAdmitted:
    """The password was right, and a code of the authenticator app is asked for next.

    ``ticket`` is the secret of a cookie: the second step within `TICKET_S`, while the password
    stays the same.
    """

    ticket: str


@dataclass(frozen=True)
class Admitted:
    """The secrets of two cookies: of the session, and of the browser for its next sign-in."""

    session: str
    device: str


class _Line:
    """A line of tries: bounded, first come first served, with threads of its own."""

    def __init__(self, name: str) -> None:
        self._lock = threading.Lock()
        self._waiting: Counter[str] = Counter()
        self._asking = ThreadPoolExecutor(2, thread_name_prefix=f"sign-in {name}")
        self._hashing = ThreadPoolExecutor(1, thread_name_prefix=f"password {name}")

    @contextmanager
    def place(self, whose: str) -> Iterator[None]:
        """A place in the line; TooMany or Unavailable as ``Turnstile.sign_in``."""
        with self._lock:
            if self._waiting[whose] >= MOST_OF_ONE:
                raise TooMany(
                    "Too many sign-ins from here at the same time. Try again in a moment.",
                    retry_after_s=5,
                )
            if self._waiting.total() >= MOST_WAITING:
                raise Unavailable("Too many sign-ins at the same time. Try again in a moment.")
            self._waiting[whose] += 1
        try:
            yield
        finally:
            with self._lock:
                self._waiting[whose] -= 1
                if not self._waiting[whose]:
                    del self._waiting[whose]

    async def ask(self, act: Callable[[], Found]) -> Found:
        """Do something short with the database."""
        return await asyncio.get_running_loop().run_in_executor(self._asking, act)

    async def hash(self, act: Callable[[], Found]) -> Found:
        """Do something long with a processor."""
        return await asyncio.get_running_loop().run_in_executor(self._hashing, act)


class Turnstile:
    """Sign-ins of one process."""

    def __init__(self, database: Database, key: bytes, hours: float) -> None:
        self._database = database
        self._key = key
        self._hours = hours
        self._new, self._known = _Line("new"), _Line("known")

    async def sign_in(self, attempt: Attempt) -> Admitted | HalfAdmitted:
        """Check a name and password: the whole, or where the account has an app its first step.

        The same is done, and takes as long, whether or not there is such an account. A refused
        try is committed by itself, so no later fault takes it back.

        Raises:
            Unauthorised: they do not fit together.
            TooMany: too many tries were refused, or the source has too many under way.
            Unavailable: too many sign-ins at once.
        """
        known = knows(self._key, attempt.device, attempt.name)
        device = attempt.device.split(".")[0] if known else ""
        origin = Origin(attempt.source, attempt.peer, device)
        line = self._known if known else self._new
        with line.place(attempt.name if known else attempt.source):
            stored = await line.ask(lambda: self._stored(attempt, origin))
            await line.ask(lambda: self._claim(attempt, origin))
            right = await line.hash(lambda: fits(attempt.password, stored))
            return await line.ask(lambda: self._settle(attempt, stored, right, origin))

    async def second_step(self, ticket: str, code: str, attempt: Attempt) -> Admitted:
        """Check the code of an authenticator app, or a recovery code, after the password.

        Tries are counted for the account wherever they come from: nobody gets here without its
        password, and six digits must not be guessed from many places. A browser that has signed in
        to the account before is counted apart.

        Args:
            ticket: of the first step.
            attempt: name and password are not looked at.

        Raises:
            Unauthorised: the first step is too long ago or was none, or the code is another one.
            TooMany: too many tries were refused, or are under way.
            Unavailable: too many sign-ins at once.
        """
        line = self._known
        user_id, _, _ = _ticket_parts(ticket)

        def step() -> Admitted | None:
            with self._database.transaction() as session:
                user = self._of_ticket(session, ticket)
                known = knows(self._key, attempt.device, user.name)
                place = attempt.device.split(".")[0] if known else str(user.id)
                origin = Origin(attempt.source, attempt.peer, place, second=True)
                Tally.claim(session, self._key, user.name, origin)
                factor = SecondFactor.asked_of(session, user)
                # reset meanwhile: nothing is asked for any more
                if factor is not None and not factor.takes(session, user, code, self._key):
                    Tally.tell(session, self._key, user, user.name, origin)
                    return None
                Tally.forgive(session, self._key, user.name, origin)
                return self._begun(session, user, attempt)

        with line.place(f"second step {user_id}"):
            admitted = await line.ask(step)
        if admitted is None:
            raise Unauthorised(
                "This code is not good now. Type the six digits that the app shows at this moment, "
                "or a recovery code that was not used yet. A code is good once."
            )
        return admitted

    async def own_code(self, user: User, code: str) -> None:
        """Nothing where a person who is signed in types a good code; tries are bounded likewise.

        Raises:
            Unreadable: it is not good now.
            TooMany, Unavailable: as `second_step`.
        """
        line = self._known
        here = Origin("account", "account", device=f"account {user.id}", second=True)

        def step() -> bool:
            with self._database.transaction() as session:
                Tally.claim(session, self._key, user.name, here)
                factor = SecondFactor.asked_of(session, user)
                right = factor is not None and factor.takes(session, user, code, self._key)
                if right:
                    Tally.forgive(session, self._key, user.name, here)
                return right

        with line.place(f"second step {user.id}"):
            if not await line.ask(step):
                raise Unreadable(
                    "This code is not good now. Type the six digits that the app shows at this "
                    "moment; each is good once."
                ).about("code")

    async def own_password(self, user: User, password: str) -> None:
        """Nothing where it is the person's; tries are counted like those of signing in.

        Whoever found a browser open must not guess on.

        Raises:
            Unreadable: it is another one.
            TooMany: too many tries were refused, or are under way.
            Unavailable: too many sign-ins at once.
        """
        with self._known.place(user.name):
            await self._is_own(user, password, "The password is another one.")

    async def new_password(self, user: User, old: str, new: str) -> str:
        """The hash of a person's new password, once the old one is known to be right.

        Raises:
            Unreadable: the old password is another one, or the new one is the same or cannot be
                used.
            TooMany, Unavailable: as `own_password`.
        """
        with self._known.place(user.name):
            await self._is_own(user, old, "The old password is another one.")
            if new == old:
                raise Unreadable("The new password is the old one. Choose another.").about("new")
            return await self._known.hash(lambda: hashed(new))

    async def _is_own(self, user: User, password: str, refusal: str) -> None:
        here = Origin("account", "account", device=f"account {user.id}")
        line = self._known

        def claim() -> None:
            with self._database.transaction() as session:
                Tally.claim(session, self._key, user.name, here)

        def settle(right: bool) -> None:
            with self._database.transaction() as session:
                if right:
                    Tally.forgive(session, self._key, user.name, here)
                else:
                    Event.record(session, user.name, "password change refused", str(user.id))

        await line.ask(claim)
        right = await line.hash(lambda: fits(password, user.password_hash))
        await line.ask(lambda: settle(right))
        if not right:
            raise Unreadable(refusal).about("old", "password")

    def _stored(self, attempt: Attempt, origin: Origin) -> str | None:
        """The account's hash, None without one; a try refused here takes no lock."""
        with self._database.reading() as session:
            Tally.refuse(session, self._key, attempt.name, origin)
            user = User.named(session, attempt.name)
            return user.password_hash if user else None

    def _claim(self, attempt: Attempt, origin: Origin) -> None:
        with self._database.transaction() as session:
            Tally.claim(session, self._key, attempt.name, origin)

    def _settle(
        self, attempt: Attempt, stored: str | None, right: bool, origin: Origin
    ) -> Admitted | HalfAdmitted:
        with self._database.transaction() as session:
            user = _now(session, attempt.name)
            right = right and user is not None and user.password_hash == stored
            if user is not None and right and user.disabled_at is None:
                Tally.forgive(session, self._key, attempt.name, origin)
                if SecondFactor.asked_of(session, user) is not None:
                    return HalfAdmitted(self._ticket(user, int(time.time()) + TICKET_S))
                return self._begun(session, user, attempt)
            Tally.tell(session, self._key, user, attempt.name, origin)
        raise Unauthorised("This name and password do not fit together. Check both and try again.")

    def _begun(self, session: Session, user: User, attempt: Attempt) -> Admitted:
        at = From(attempt.source, attempt.browser)
        return Admitted(
            SignIn.begin(session, user, self._hours, replaces=attempt.session, at=at),
            known_with(self._key, attempt.device, user.name),
        )

    def _ticket(self, user: User, until: int) -> str:
        signed = cookies.tag(self._key, "second step", str(user.id), str(until), user.password_hash)
        return f"{user.id}.{until}.{signed}"

    def _of_ticket(self, session: Session, ticket: str) -> User:
        """The account that a first step was made for; Unauthorised as `second_step`."""
        user_id, until, _ = _ticket_parts(ticket)
        user = session.get(User, user_id, populate_existing=True)
        if (
            user is None
            or user.disabled_at is not None
            or time.time() > until
            or not cookies.same(self._ticket(user, until), ticket)
        ):
            raise Unauthorised(_AGAIN)
        return user


_AGAIN = "The password was typed too long ago, or in another browser. Begin again."


def _ticket_parts(ticket: str) -> tuple[uuid.UUID, int, str]:
    """Whose it is, until when, and its tag; Unauthorised for what is no ticket."""
    found = _TICKET.fullmatch(ticket)
    if found is None:
        raise Unauthorised(_AGAIN)
    return uuid.UUID(found[1]), int(found[2]), found[3]


def _now(session: Session, name: str) -> User | None:
    """The account as it is at this moment: it may have changed while the password was hashed."""
    query = sa.select(User).where(User.name == name).execution_options(populate_existing=True)
    return session.execute(query).scalar_one_or_none()


# ---- the device cookie: NONCE.TAG.TAG…, a tag for each account that has signed in with it -------


def knows(key: bytes, device: str, name: str) -> bool:
    """Whether the browser with this device cookie has signed in to the account before."""
    nonce, tags = _parts(device)
    own = cookies.tag(key, "device", nonce, name)
    return bool(nonce) and any(cookies.same(own, one) for one in tags)


def known_with(key: bytes, device: str, name: str) -> str:
    """The device cookie with this account in it, the newest first; a new one where none is."""
    nonce, tags = _parts(device)
    nonce = nonce or secrets.token_urlsafe(16)
    own = cookies.tag(key, "device", nonce, name)
    return ".".join([nonce, own, *[one for one in tags if one != own][: _MOST_ACCOUNTS - 1]])


def _parts(device: str) -> tuple[str, list[str]]:
    if not _DEVICE.fullmatch(device):
        return "", []
    nonce, *tags = device.split(".")
    return nonce, tags


# ---- the source of a request -------------------------------------------------------------------

_unnamed_proxy_told = threading.Event()


def source_of(scope: Scope) -> tuple[str, str]:
    """(whom a try counts against, who is connected), as addresses.

    An address that a named proxy tells has replaced the connected one already. A proxy that is
    not named is not believed, but what it says tells the people behind it apart, so that one
    does not use up the tries of all; all of them together have a limit too.
    """
    client = scope.get("client")
    peer = _address(client[0] if client else "") or "unknown"
    said = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
    if not said:
        return peer, peer
    told = [_address(one) for one in said.decode("latin-1").split(",")]
    if peer in told or told[-1] is None:
        return peer, peer
    if not _unnamed_proxy_told.is_set():
        _unnamed_proxy_told.set()
        log.warning(
            "Requests come through %s, which HEPATICA_PROXIES does not name: limits of sign-ins "
            "are shared by all behind it, and X-Forwarded-Proto is not believed.",
            peer,
        )
    return f"{told[-1]} via {peer}", peer


def _address(text: str) -> str | None:
    """An address as it is counted: of IPv6 the network of 64 bits, which one person has whole."""
    bare = text.strip()
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        found = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)
