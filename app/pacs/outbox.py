"""The outbox: what was said of a case goes back to the PACS that the case came from.

Only to a configured PACS whose entry says ``takes_results``, and only of cases whose link is kept
(``return-results`` at the door by which they came). An object is made when it is sent, from its
rows, and is done when a search at the PACS finds it: that the PACS says so is not enough.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Sequence

import sqlalchemy as sa
from pydicom.dataset import Dataset
from sqlalchemy.orm import Session

from app.db import Database
from app.errors import AppError, Conflict, Damaged
from app.models.cases.case import Case
from app.models.cases.link import Link
from app.models.jobs.returned_object import ReturnedObject
from app.objects import returned, said
from app.objects.naming import Names, series_of
from app.objects.part10 import written
from app.objects.said import Account, By
from app.pacs.client import Pacs
from app.pacs.configured import ConfiguredPacs, PacsSettings
from app.pacs.faults import PacsFault
from ml.ground.errors import HepaticaError

log = logging.getLogger("hepatica.clerk")

KINDS = ("sr", "pr", "sc")
"""Structured report, presentation state, secondary captures."""
FOUND_WITHIN_S = 30.0
"""So long a search at the PACS is repeated before a try has failed."""


class NoWayBack(Conflict):
    """What was said of a case cannot be sent to a PACS; the message says why."""


def destination(
    session: Session, configured: ConfiguredPacs, case: Case, key: bytes, name: str = ""
) -> tuple[PacsSettings, Link]:
    """Where the results of a case go, and the link by which they get there.

    Args:
        key: of the installation.
        name: of a configured PACS; "": the one that the case came from, or the only one. Of a
            case that came from a configured PACS no other is meant.

    Raises:
        NoWayBack: no link is kept, no PACS takes results, or several might be meant.
        NotFound: there is no PACS of that name.
        Damaged: the link does not open.
    """
    link = Link.of(session, case, key)
    if link is None:
        raise NoWayBack(
            "This case did not come from a PACS with returning enabled, so nothing can be sent "
            "back. An administrator enables it for the cases that come from then on "
            "(`return-results` at a door)."
        )
    takers = [one for one in configured.all if one.takes_results]
    if not takers:
        raise NoWayBack(
            "No configured PACS takes results. An administrator allows it with takes_results in "
            "its entry of HEPATICA_PACS."
        )
    source = link.examination.source
    came_from = source if source in configured.names else ""
    if name and came_from and name != came_from:
        raise NoWayBack(
            f"This case came from the PACS {came_from}. In another one its patient's number may be "
            "another person's, so nothing is sent there."
        )
    wanted = name or came_from
    if wanted:
        found = configured.named(wanted)
        if not found.takes_results:
            raise NoWayBack(
                f"{found.shown} takes no results. An administrator allows it with takes_results in "
                "its entry of HEPATICA_PACS."
            )
        return found, link
    if len(takers) > 1:
        names = ", ".join(one.name for one in takers)
        raise NoWayBack(f"Several PACS take results: {names}. Name the one that this case is of.")
    return takers[0], link


def order(
    session: Session,
    pacs: PacsSettings,
    link: Link,
    accounts: Sequence[Account],
    kinds: Sequence[str],
    *,
    by: str,
    key: bytes,
) -> list[ReturnedObject]:
    """Have what was said sent; ordered twice it is one object of each.

    Raises:
        NoWayBack: an image came by another way, or patient or study could not be told in an object,
            so that nothing can be sent.
    """
    wanted = []
    if why := link.examination.unreachable:
        raise NoWayBack(why)
    for account in accounts:
        if returned.missing(account, link):
            raise NoWayBack(
                "A lesion lies on an image that did not come from the PACS, so nothing can be sent "
                "back about it."
            )
        for kind in kinds:
            names = Names(account, kind, key)
            count = _count(account, kind)
            for number in range(1, count + 1):
                wanted.append(
                    ReturnedObject(
                        case_id=account.case.id,
                        pacs=pacs.name,
                        kind=kind,
                        said_by=account.by.value,
                        number=number,
                        rows=[str(row) for row in account.rows],
                        sop_uid=returned.uid(names.instance_uid(number), key),
                        ordered_by=by[:140],
                    )
                )
    return ReturnedObject.order(session, wanted, by)


def _count(account: Account, kind: str) -> int:
    """How many objects of a kind there are of an account."""
    if kind == "sr":
        return 1
    if kind == "sc":
        return len(account.statements)
    # highdicom takes 0.3 s to import, which no start of the server is to wait for
    from app.objects import presentation

    return presentation.count(account)


def lease_s(configured: ConfiguredPacs) -> float:
    """So long one sending may take: storing and asking, within the deadlines of the slowest."""
    slowest = max((one.total_s for one in configured.all), default=0.0)
    return min(3600.0, 3 * slowest + 60.0)


def send_next(
    database: Database,
    configured: ConfiguredPacs,
    key: bytes,
    clerk: str,
    which: sa.ColumnElement[bool],
) -> str | None:
    """Send the object that has been due longest; why it failed, "" where it did not.

    None where none is due.

    Args:
        which: what holds for the objects that are looked at.
    """
    with database.reading() as session:
        if not ReturnedObject.is_due(session, which):
            return None
    with database.transaction() as session:
        row = ReturnedObject.claim(session, lease_s(configured), which)
        if row is None:
            return ""
        row_id, tries = row.id, row.tries
    why, hopeless = _sent(database, configured, row_id, key)
    with database.transaction() as session:
        kept = session.get(ReturnedObject, row_id)
        if kept is not None and (kept.tries == tries or not why) and not kept.is_over:
            kept.told(session, clerk, why, hopeless=hopeless)
            if why and kept.is_over:
                log.error("A result for the PACS %s is given up: %s", kept.pacs, why)
            elif why:
                log.warning("A result for the PACS %s is tried again: %s", kept.pacs, why)
    return why


def _sent(
    database: Database, configured: ConfiguredPacs, row_id: uuid.UUID, key: bytes
) -> tuple[str, bool]:
    """Why it was not sent, "" where it is there; and whether no further try can change it."""
    with database.reading() as session:
        row = session.get(ReturnedObject, row_id)
        if row is None:
            return "", False
        settings = next((one for one in configured.all if one.name == row.pacs), None)
        if settings is None or not settings.takes_results:
            return f"The PACS {row.pacs} is not configured any more, or takes no results.", False
        try:
            made, study_uid = _made(session, row, key)
        except (NoWayBack, returned.NotKept, Damaged, HepaticaError) as error:
            return str(error), True
        except (sa.exc.SQLAlchemyError, MemoryError):
            raise
        except Exception as error:
            # what a library cannot write is no reason for others to wait, and has to end
            return f"It could not be made ({type(error).__name__}).", False
        sop_uid, again = row.sop_uid, row.tries > 1
    try:
        with Pacs(settings) as pacs:
            # an earlier try may have stored it without living to see so
            if not (again and pacs.holds(sop_uid, study_uid)):
                pacs.deliver(made, FOUND_WITHIN_S)
    except PacsFault as fault:
        return fault.detail, False
    except AppError as error:
        return str(error), True
    return "", False


def _made(session: Session, row: ReturnedObject, key: bytes) -> tuple[bytes, str]:
    """The object of a row as a file, and the study that it belongs to there.

    Raises:
        NoWayBack: what it says does not stand any more, or its case has no link.
    """
    case = session.get_one(Case, row.case_id)
    link = Link.of(session, case, key)
    account = said.of_rows(session, case, By(row.said_by), [uuid.UUID(one) for one in row.rows])
    if link is None or account is None or returned.missing(account, link):
        raise NoWayBack(
            "What it says does not stand any more: a lesion was withdrawn or reviewed again since. "
            "Send the answer of today."
        )
    likeness = next(iter(_likeness(session, account, row, key)))
    found = returned.made(likeness, account, link, key, _predecessor(session, account, row, key))
    if found.SOPInstanceUID != row.sop_uid:
        raise NoWayBack("It would be another object than the one that was ordered. Order it again.")
    return written(found), link.examination.study_uid


def _predecessor(
    session: Session, account: Account, row: ReturnedObject, key: bytes
) -> returned.Predecessor | None:
    """The report of the same network or person that the PACS has, if this is a further one."""
    if row.kind != "sr":
        return None
    author = said.whose(session, account.by, account.rows[0])
    for one in row.sent_before(session):
        rows = [uuid.UUID(known) for known in one.rows]
        if said.whose(session, account.by, rows[0]) != author:
            continue
        for instance, series in series_of(one.kind, rows, account.version, key).items():
            if returned.uid(instance, key) == one.sop_uid:
                return returned.Predecessor(returned.uid(series, key), one.sop_uid)
    return None


def _likeness(
    session: Session, account: Account, row: ReturnedObject, key: bytes
) -> Iterator[Dataset]:
    # highdicom takes 0.3 s to import, which no start of the server is to wait for
    from app.objects import capture, presentation, report

    if row.kind == "sr":
        yield report.made(account, key)
    elif row.kind == "pr":
        yield from presentation.made(account, key, only=row.number)
    else:
        yield from capture.made(session, account, key, only=row.number)
