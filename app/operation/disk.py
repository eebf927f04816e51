"""The room that is left where data are kept on this machine."""

from __future__ import annotations

import shutil

from app.db import Database
from app.settings import Settings


def free_bytes(database: Database, settings: Settings) -> int | None:
    """Free where the database's file is, or the installation's key; None where no disk tells."""
    file = database.file
    folder = file.path.parent if file is not None else settings.installation_key_file.parent
    # a folder that was not needed yet will be made within one that is there
    there = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    try:
        return shutil.disk_usage(there).free
    except OSError:
        return None
