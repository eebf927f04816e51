"""Unblinded studies: the type that truth and results need, which there is only afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy.orm import object_session

from app.errors import Conflict, Forbidden
from app.models.reader_studies.protocol import Protocol
from app.models.reader_studies.study import ReaderStudy
from app.models.reader_studies.unblinding import Unblinding
from app.models.reader_studies.versions import Versions


@dataclass(frozen=True)
class Unblinded:
    """A study whose truth may be shown. Before its Unblinding none can be made, by anyone.

    ``protocol`` is the version that it is judged by: the newest before the first answer.
    ``versions`` are all of them.

    Raises:
        Forbidden: not unblinded yet; the look is an Event.
        Conflict: it was never opened, so it has no protocol.
    """

    study: ReaderStudy
    unblinding: Unblinding = field(init=False)
    protocol: Protocol = field(init=False)
    versions: Versions = field(init=False)

    def __post_init__(self) -> None:
        unblinding, session = self.study.unblinding, object_session(self.study)
        if unblinding is None:
            raise Forbidden(
                "Results and truth are not shown to anyone before the study is unblinded. "
                "Unblind it on its page when the reading is done; that closes it.",
                event="results refused before unblinding",
                next={"url": f"/reader-studies/{self.study.id}", "label": "To the study"},
            )
        assert session is not None
        versions = Versions.of(session, self.study.id)
        if versions is None:
            raise Conflict("The study has no protocol; it was never opened.")
        object.__setattr__(self, "unblinding", unblinding)
        object.__setattr__(self, "protocol", versions.primary)
        object.__setattr__(self, "versions", versions)
