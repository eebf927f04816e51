"""Where damaged files are given in: the readers themselves, and STOW over the whole application."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random

from fuzz import seeds
from starlette.testclient import TestClient

from ml.ground.errors import HepaticaError
from ml.images import dicom
from ml.marks import reading
from ml.marks.region import Place, Region, Seen

Doors = Mapping[str, Callable[[bytes], object]]

_STOW_EVERY = 8
"""One of so many goes through the whole application, which takes longer."""
_MOST_PIXELS = 64_000_000


class Fault(Exception):
    """A door answered what it must not."""


def chosen(doors: Doors, number: int, rng: Random) -> str:
    """The target of an execution."""
    if number % _STOW_EVERY == 0 and "stow" in doors:
        return "stow"
    return rng.choice(sorted(set(doors) - {"stow"}))


@contextmanager
def opened() -> Iterator[Doors]:
    """The targets, the application among them on a database of its own that goes afterwards."""
    with tempfile.TemporaryDirectory(prefix="hepatica-fuzz-") as folder, _stow(folder) as stow:
        yield {"reader": read, "marks": marks, "stow": stow}


def read(data: bytes) -> str:
    """Decode as an upload is: identity first, then image after image."""
    try:
        count = sum(1 for _ in dicom.opened(data, "file").each(_MOST_PIXELS))
    except HepaticaError as error:
        return f"refused: {error}"
    return f"{count} images"


def marks(data: bytes) -> str:
    """Read what an object marks, place it on an image, keep it and read it back."""
    try:
        found = reading.read(data, "file", _MOST_PIXELS)
    except HepaticaError as error:
        return f"refused: {error}"
    count = 0
    for region in found.regions:
        again = Region.of_dict(json.loads(json.dumps(region.to_dict())))
        try:
            count += len(again.placed(_seen))
        except HepaticaError:
            continue
    return f"{count} of {len(found.regions)} regions"


def _seen(place: Place) -> Seen:
    return Seen((32, 32), (0.8, 0.8), [1, 0, 0, 0, 1, 0], [0, 0, 5.0])


@contextmanager
def _stow(folder: str) -> Iterator[Callable[[bytes], object]]:
    from app.db import Database
    from app.main import create_app
    from app.models import ApiToken
    from app.settings import Settings
    from stow import content_type, related

    url = f"sqlite:///{Path(folder) / 'fuzz.sqlite3'}"
    database = Database(url)
    database.migrate()
    with database.transaction() as session:
        token = ApiToken.add(session, "fuzz", "machine")
    app = create_app(
        Settings(
            database_url=url,
            installation_key="k" * 64,
            door_stow="return-results",
            runs_dir=Path(folder) / "runs",
        )
    )
    headers = {"authorization": f"Bearer {token}", "hepatica-pseudonym": "fuzz"}

    with TestClient(app, base_url="http://testserver", raise_server_exceptions=True) as client:

        def store(data: bytes) -> str:
            """A file as a part of a body; of some the body itself is damaged."""
            body = related(data)
            if data[-1:] > b"\xc0":
                body = body[: len(body) - data[-1]]
            reply = client.post(
                "/dicomweb/studies",
                content=body,
                headers={**headers, "content-type": content_type()},
            )
            if reply.status_code >= 500:
                raise Fault(f"{reply.status_code}")
            return f"{reply.status_code}: {reply.text[:300]}"

        for image in seeds.slices():  # what objects mark is here
            store(image)
        yield store
    database.engine.dispose()
    app.state.database.engine.dispose()


os.environ.setdefault("OMP_NUM_THREADS", "1")
