"""What leads back to a PACS, sealed: see ``app.models.ground.sealing``."""

from __future__ import annotations

from app.models.ground.sealing import Seal

_LINK = Seal(
    info=b"hepatica: link back to the PACS",
    bound=b"hepatica link 1",
    damaged=(
        "The encrypted link back to the PACS cannot be opened: it was sealed under another "
        "installation key, or it was changed in the database. Nothing is sent back from it. "
        "Restore the key that this database was filled under, or send the study again."
    ),
)

sealed = _LINK.sealed
opened = _LINK.opened
