"""A PACS asked over DICOMweb: what it holds, an instance of it, and answers sent to it.

``with Pacs(configured.named("main")) as pacs: …``. One thread uses one of these at a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from time import monotonic, sleep
from types import TracebackType
from urllib.parse import urlencode

from app.errors import BadRequest
from app.objects.related import DICOM, RELATED, Writing
from app.pacs import answers
from app.pacs.answers import Found, Stored
from app.pacs.configured import PacsSettings
from app.pacs.exchange import Exchange
from app.pacs.faults import (
    NotDicomWeb,
    NotStored,
    OtherThanAsked,
    Refused,
    TooMuch,
)
from app.pacs.parts import files
from ml.images import dicom
from ml.images.ct_slice import DicomError

_UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+", re.ASCII)
_JSON = "application/dicom+json"
_PAGE = 1000
_ROOM = 1e6
"""Bytes of an answer beside the instance: headers of its parts."""
_WAITS_S = (0.0, 0.2, 0.5, 1.0)


def refuse_unfit_uid(uid: str, what: str) -> None:
    """Return where a text is a UID (PS3.5 9.1). It is not repeated to whoever sent it.

    Args:
        what: what it is the UID of, such as ``study``.

    Raises:
        BadRequest: it is none.
    """
    if len(uid) > 64 or not _UID.fullmatch(uid):
        raise BadRequest(
            f"What stands for the {what} is no UID: digits and dots, 64 characters at most, and no "
            "part of it begins with a 0."
        )


class Pacs:
    """One configured PACS.

    Every verb ends within the deadlines of its entry and raises a `app.pacs.faults.PacsFault`
    that says what happened; ``PacsFault.passing`` tells whether another try makes sense.
    """

    def __init__(self, settings: PacsSettings) -> None:
        self.settings = settings
        self._exchange = Exchange(settings)

    def __enter__(self) -> Pacs:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._exchange.close()

    @property
    def name(self) -> str:
        """What it is called here."""
        return self.settings.name

    # -- searching (QIDO-RS) -------------------------------------------------------------------

    def studies(self, study_uid: str) -> list[Found]:
        """The study of that UID: one, or none."""
        refuse_unfit_uid(study_uid, "study")
        query = {"StudyInstanceUID": study_uid}
        return self._search("/studies", query, lambda one: one.study_uid == study_uid)

    def series(self, study_uid: str) -> list[Found]:
        """The series of a study, each with its modality."""
        refuse_unfit_uid(study_uid, "study")
        return self._search(f"/studies/{study_uid}/series", {}, _is_of(study_uid, ""))

    def instances(self, study_uid: str, series_uid: str = "", sop_uid: str = "") -> list[Found]:
        """The instances of a study, or of a series; or one of them.

        It may fail to tell the UIDs of some; these cannot be asked for.

        Raises:
            TooMuch: there are more than ``max_instances`` of its entry.
            NotDicomWeb: it tells the UID of none.
        """
        refuse_unfit_uid(study_uid, "study")
        path = f"/studies/{study_uid}"
        if series_uid:
            refuse_unfit_uid(series_uid, "series")
            path += f"/series/{series_uid}"
        query = {}
        if sop_uid:
            refuse_unfit_uid(sop_uid, "instance")
            query = {"SOPInstanceUID": sop_uid}
        found = self._search(f"{path}/instances", query, _is_of(study_uid, series_uid))
        if found and not any(one.sop_uid for one in found):
            raise NotDicomWeb(
                f"{self.settings.shown} answers a search for instances with objects whose SOP "
                "Instance UID it does not tell, so none of them can be asked for."
            )
        return [
            replace(one, study_uid=study_uid, series_uid=one.series_uid or series_uid)
            for one in found
            if sop_uid in ("", one.sop_uid)
        ]

    def holds(self, sop_uid: str, study_uid: str = "") -> bool:
        """Whether it says, asked by a search, that it holds this instance.

        Args:
            study_uid: its study; not every PACS finds an instance without.
        """
        refuse_unfit_uid(sop_uid, "instance")
        if study_uid:
            return bool(self.instances(study_uid, sop_uid=sop_uid))
        query = {"SOPInstanceUID": sop_uid}
        return bool(self._search("/instances", query, lambda one: one.sop_uid == sop_uid))

    def any_instance(self) -> Found | None:
        """One instance that it holds, whichever; None where it names none."""
        study = self._first("/studies")
        if study is None or not study.study_uid:
            return None
        refuse_unfit_uid(study.study_uid, "study")
        one = self._first(f"/studies/{study.study_uid}/instances")
        if one is None or not (one.series_uid and one.sop_uid):
            return None
        return replace(one, study_uid=study.study_uid)

    def _first(self, path: str) -> Found | None:
        with self._exchange.ask("GET", f"{path}?limit=1", _JSON) as reply:
            reply.refuse_failure()
            return next(iter(answers.found(reply)), None)

    def _search(
        self, path: str, query: dict[str, str], belongs: Callable[[Found], bool]
    ) -> list[Found]:
        """Every match, page by page.

        Raises:
            OtherThanAsked: a page holds none of what was asked for, but something else.
        """
        most, received = self.settings.max_instances, 0
        seen: dict[tuple[str, str, str], Found] = {}
        while True:
            asked = urlencode({**query, "limit": _PAGE, "offset": received})
            with self._exchange.ask("GET", f"{path}?{asked}", _JSON) as reply:
                reply.refuse_failure()
                page = answers.found(reply)
            own = [one for one in page if belongs(one)]
            if page and not own:
                raise OtherThanAsked(
                    f"{self.settings.shown} answers a search for one UID with others. Nothing of "
                    "them was taken."
                )
            received += len(page)
            known = len(seen)
            seen |= {(one.study_uid, one.series_uid, one.sop_uid): one for one in own}
            if len(seen) > most:
                raise TooMuch(
                    f"{self.settings.shown} has more than {most} objects for this, which is the "
                    "most. Ask for one series, or ask the administrator to raise max_instances of "
                    "its entry."
                )
            if len(seen) == known:  # nothing came, or it does not know `offset`
                return list(seen.values())

    # -- fetching (WADO-RS) --------------------------------------------------------------------

    def retrieve(self, study_uid: str, series_uid: str, sop_uid: str) -> bytes:
        """One instance as a DICOM file, in the transfer syntax in which the PACS keeps it.

        Raises:
            NotInPacs: it is not there.
            OtherThanAsked: another instance came.
            TooMuch: it is larger than ``max_instance_mb`` of its entry.
        """
        refuse_unfit_uid(study_uid, "study")
        refuse_unfit_uid(series_uid, "series")
        refuse_unfit_uid(sop_uid, "instance")
        path = f"/studies/{study_uid}/series/{series_uid}/instances/{sop_uid}"
        accept = f'{RELATED}; type="{DICOM}"'
        try:
            data = self._one_file(path, f"{accept}; transfer-syntax=*")
        except Refused:  # some know no "as it is"; they give Explicit VR Little Endian
            data = self._one_file(path, accept)
        try:
            known = dicom.identity(data, "the instance")
        except DicomError:
            known = None
        if known is None or not known.sop_uid:
            raise NotDicomWeb(f"{self.settings.shown} answers with a DICOM file that is damaged.")
        if (known.sop_uid, known.study_uid) != (sop_uid, study_uid):
            raise OtherThanAsked(
                f"{self.settings.shown} answers with another instance than was asked for. It was "
                "not taken."
            )
        return data

    def _one_file(self, path: str, accept: str) -> bytes:
        with self._exchange.ask("GET", path, accept) as reply:
            reply.refuse_failure()
            most = self.settings.max_instance_mb * 1e6 + _ROOM
            found = list(files(reply, most))
        if len(found) != 1:
            raise OtherThanAsked(
                f"{self.settings.shown} answers with {len(found)} instances where one was asked "
                "for. None was taken."
            )
        return found[0]

    # -- storing (STOW-RS) ---------------------------------------------------------------------

    def store(self, instances: Sequence[bytes], study_uid: str = "") -> Stored:
        """Send DICOM files; what the PACS says became of each.

        What it says is no proof, a success neither: ask ``holds``, or use ``deliver``.

        Raises:
            PacsFault: it took none, and did not say why of each.
        """
        path = "/studies"
        if study_uid:
            refuse_unfit_uid(study_uid, "study")
            path += f"/{study_uid}"
        writing = Writing(DICOM)
        body = list(writing.written((one, "") for one in instances))
        with self._exchange.ask("POST", path, _JSON, writing.content_type, body) as reply:
            if reply.status in (400, 409):  # its data set may say what became of each
                told = answers.stored(reply)
                if not told.failures:
                    reply.refuse_failure()
                return told
            reply.refuse_failure()
            return answers.stored(reply)

    def refuses_nonsense(self) -> bool:
        """Send what is no DICOM to STOW-RS; whether it is refused, as it must be.

        Raises:
            PacsFault: the service does not work at all.
        """
        try:
            told = self.store([b"This is no DICOM: a dry trial of Hepatica."])
        except Refused as fault:
            if fault.code in (405, 501):
                raise
            return True
        return bool(told.failures)

    def deliver(self, instance: bytes, within_s: float = 30.0) -> None:
        """Store one DICOM file, and return once a search finds it there.

        Storing the same again is a success: it is there.

        Args:
            within_s: so long the search is repeated; a PACS may take a moment.

        Raises:
            NotStored: it says so, or a search does not find it.
        """
        known = dicom.identity(instance, "the object")
        told = self.store([instance], known.study_uid)
        end = monotonic() + within_s
        waits = iter(_WAITS_S)
        while True:
            sleep(next(waits, 2.0))
            if self.holds(known.sop_uid, known.study_uid):
                return
            told.refuse_failures(self.name)
            if monotonic() >= end:
                raise NotStored(
                    f"{self.settings.shown} said that it had stored an object, and "
                    f"{within_s:g} seconds later a search there does not find it."
                )


def _is_of(study_uid: str, series_uid: str) -> Callable[[Found], bool]:
    """Whether a match is of what the path named; a PACS need not repeat that."""
    return lambda one: (
        one.study_uid in ("", study_uid) and (not series_uid or one.series_uid in ("", series_uid))
    )
