"""What only its owner knows of a data set: where it comes from, and how its classes were got."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path

from ml.ground.errors import HepaticaError, reason
from ml.ground.records import RecordError, from_json

MOST = 2000
"""Characters of an answer."""
NOT_GIVEN = "not given"


class AboutError(HepaticaError):
    """Words about a data set that cannot be read; the message says which are meant."""


@dataclass(frozen=True)
class About:
    """The owner's words, empty where nothing was said.

    Attributes:
        source: hospital, archive or public set, with its licence.
        dates: when the images were made.
        inclusion: whose images were taken, and whose left out.
        reference_standard: how it is known which class a lesion has.
        scanner: makes and models, phase, slice thickness.
        labellers: who marked and named the lesions, and how they agreed.
    """

    source: str = ""
    dates: str = ""
    inclusion: str = ""
    reference_standard: str = ""
    scanner: str = ""
    labellers: str = ""

    @classmethod
    def load(cls, path: Path) -> About:
        """The words of a JSON file, an object with some of these names.

        Raises:
            AboutError: it cannot be read, has other names, or something else than short texts.
        """
        names = ", ".join(field.name for field in fields(cls))
        try:
            told = from_json(cls, json.loads(path.read_text("utf-8")))
        except OSError as error:
            raise AboutError(f"--about {path} cannot be read: {reason(error)}.") from error
        except (ValueError, RecordError) as error:
            raise AboutError(
                f"--about {path} is no JSON object of texts named {names}: {error}"
            ) from error
        for name, words in told.rows():
            if len(words) > MOST:
                raise AboutError(f"--about {path}: {name} has over {MOST} characters.")
        return told

    def rows(self) -> list[tuple[str, str]]:
        """(what it is, in words; what was said or that nothing was), in order."""
        return [
            (field.name.replace("_", " "), getattr(self, field.name).strip() or NOT_GIVEN)
            for field in fields(self)
        ]
