"""``python -m app``: the commands; each imports what it needs when it runs."""

from __future__ import annotations

import gc
import getpass
import os
import pwd
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from app.roles import Role, TokenRole
from ml.ground import terminal
from ml.ground.terminal import Jobs, Whole

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from app.db import Database
    from app.server import Server
    from app.settings import Settings

_PATIENCE_S = 120.0
"""So long a command waits for the right to write; nobody waits for a command."""

application = terminal.command_line("python -m app", "Hepatica for the web.")
user = terminal.group(application, "user", "Accounts.")
token = terminal.group(application, "token", "API tokens.")
key = terminal.group(application, "key", "The installation key.")
audit = terminal.group(application, "audit", "The audit trail: who did what, when.")
patient = terminal.group(application, "patient", "All that there is of a patient.")
pacs = terminal.group(application, "pacs", "The PACS that are configured.")

Name = Annotated[str, Parameter(name="NAME")]


def _database() -> Database:
    """The database, brought up to this version's schema."""
    from app.database_file import narrow, narrow_folder
    from app.db import Database
    from app.settings import settings

    database = Database(settings().database_url, patience_s=_PATIENCE_S)
    database.migrate()
    narrow(settings().installation_key_file, 0o600)
    narrow_folder(settings().installation_key_file.parent)
    return database


def _database_as_it_is() -> Database:
    """The database for a command that only looks: it changes nothing, the schema neither."""
    from app.db import Database
    from app.settings import settings

    database = Database(settings().database_url)
    database.require_schema()
    return database


def _keyed_database() -> Database:
    """The database, once it is clear that it belongs to the installation's key."""
    from app.models.cases.naming import name_older, veil_older
    from app.models.ground.installation import Fingerprint
    from app.settings import settings

    installation_key = settings().key()
    database = _database()
    with database.transaction() as session:
        Fingerprint.confirm(session, installation_key)
        name_older(session, installation_key)
        veiled = veil_older(session, installation_key)
    if veiled:
        database.forget()
    return database


def _actor() -> str:
    """Who is at the command line, as the operating system knows them."""
    user_id = os.getuid()
    try:
        return f"command line: {pwd.getpwuid(user_id).pw_name}"
    except KeyError:  # a container may run under a number alone
        return f"command line: user {user_id}"


@application.command
def serve(
    *,
    host: str | None = None,
    port: Annotated[Whole | None, Parameter(metavar="PORT")] = None,
    workers: Annotated[Whole | None, Parameter(metavar="N")] = None,
    demo: bool = False,
) -> None:
    """Migrate the database, register the shipped checkpoints, and serve.

    Args:
        host: address to listen on; default HEPATICA_HOST.
        port: default HEPATICA_PORT.
        workers: web processes; default HEPATICA_WORKERS, or one for each core, at most 4.
        demo: first fill a database without accounts (make run).
    """
    from app import logs, starting
    from app.processes import by_default
    from app.settings import settings

    configuration = settings().but(host=host, port=port, workers=workers)
    logs.begin(configuration)
    host, port, workers = configuration.host, configuration.port, configuration.workers
    listening = starting.listen(host, port)
    start = starting.Start()
    with start.told(listening, configuration.root_path):
        start.does("loads the application")
        server = _loaded(configuration)
        start.does("brings the database up to date, or waits for another process that does")
        database = _keyed_database()
        if demo:
            start.does("simulates the content of the demo")
            _fill(database, only_if_empty=True)
        start.does("registers the networks that come with it")
        server.register(database, _actor())
        database.engine.dispose()
    logs.say(configuration, f"Hepatica: http://{host}:{port} (Ctrl+C ends it)")
    code = server.run(listening, by_default() if workers is None else workers)
    if code:
        sys.exit(code)


def _loaded(configuration: Settings) -> Server:
    """All that serving needs; what modules make stays, so no garbage is looked for meanwhile."""
    gc.disable()
    try:
        from app.server import Server

        return Server.of(configuration)
    finally:
        gc.freeze()
        gc.enable()


def _password() -> str:
    from app.errors import AppError

    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    first = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != first:
        raise AppError("The two passwords differ; nothing was changed.")
    return first


@user.command(name="add")
def add_user(name: Name, /, *, role: Role) -> None:
    """Make an account; the password is asked, or read from stdin.

    Args:
        name: to sign in with.
        role: what the person may do.
    """
    from app.models.people.user import User

    database = _database()
    password = _password()
    with database.transaction() as session:
        User.add(session, name, role.value, password, by=_actor())
    print(f"Account {name} ({role}) made.")


@user.command(name="password")
def set_password(name: Name, /) -> None:
    """Set a new password; ends the person's sign-ins.

    Args:
        name: of the account.
    """
    from app.models.people.user import User, hashed

    database = _database()
    with database.reading() as session:
        User.require(session, name)
    password_hash = hashed(_password())
    with database.transaction() as session:
        User.require(session, name).set_password(session, password_hash, _actor())
    print(f"Password of {name} changed; whoever was signed in with the old one is not.")


@user.command(name="role")
def set_role(name: Name, role: Annotated[Role, Parameter(name="ROLE")], /) -> None:
    """Let a person do more or less.

    Args:
        name: of the account.
        role: what the person may do from now on.
    """
    from app.models.people.user import User

    with _database().transaction() as session:
        User.require(session, name).set_role(session, role.value, _actor())
    print(f"{name} is {role} from now on.")


@user.command(name="disable")
def disable_user(name: Name, /) -> None:
    """Take the right to sign in away; tokens end as well.

    Args:
        name: of the account.
    """
    from app.models.people.user import User

    with _database().transaction() as session:
        User.require(session, name).disable(session, _actor())
    print(f"Account {name} is disabled.")


@user.command(name="enable")
def enable_user(name: Name, /) -> None:
    """Give the right to sign in back.

    Args:
        name: of the account.
    """
    from app.models.people.user import User

    with _database().transaction() as session:
        User.require(session, name).enable(session, _actor())
    print(f"Account {name} is enabled.")


@user.command(name="unlock")
def unlock_user(name: Name, /) -> None:
    """Let a person sign in at once after refused tries.

    Args:
        name: of the account.
    """
    from app.models.people.tally import Tally
    from app.models.people.user import User
    from app.settings import settings

    installation_key = settings().key()
    with _keyed_database().transaction() as session:
        Tally.unlock(session, installation_key, User.require(session, name), _actor())
    print(f"{name} can sign in again at once.")


@user.command(name="totp-reset")
def reset_second_step(name: Name, /) -> None:
    """Ask a person for no code of an authenticator app any longer; ends their sign-ins.

    Args:
        name: of the account.
    """
    from app.errors import AppError
    from app.models.people.second_factor import SecondFactor
    from app.models.people.user import User

    with _database().transaction() as session:
        found = User.require(session, name)
        if not SecondFactor.remove(session, found, _actor()):
            raise AppError(f"{name} has no authenticator app; nothing was changed.")
        found.sign_out(session)
    print(f"{name} is asked for no code any longer, and is signed out everywhere.")


@user.command(name="join")
def join_user(name: Name, subject: Annotated[str, Parameter(name="SUBJECT")], /) -> None:
    """Let an account sign in at the identity provider, and by its password no longer.

    Args:
        name: of the account.
        subject: who the person is there (the claim "sub").
    """
    from app.errors import AppError
    from app.models.people.identity import Identity
    from app.models.people.user import User
    from app.settings import settings

    issuer = settings().oidc_issuer
    if not issuer:
        raise AppError("HEPATICA_OIDC_ISSUER names no identity provider; nothing was changed.")
    with _database().transaction() as session:
        Identity.join(session, User.require(session, name), issuer, subject, _actor())
    print(f"{name} signs in at {issuer} from now on.")


@user.command(name="list")
def list_users() -> None:
    """Every account."""
    from app.models.people.user import User

    with _database_as_it_is().reading() as session:
        for person in User.everyone(session):
            state = "disabled" if person.disabled_at else "active"
            print(f"{person.name}\t{person.role}\t{state}")


@token.command(name="add")
def add_token(
    name: Name,
    /,
    *,
    role: TokenRole,
    owner: Annotated[str | None, Parameter(metavar="NAME")] = None,
    days: Annotated[float | None, Parameter(metavar="N")] = None,
) -> None:
    """Make a token and print it, this once.

    Args:
        name: what it is for.
        role: what it may do.
        owner: the person for whom it acts; needed but for a machine.
        days: how long it is good; else until it is revoked.
    """
    from app.models.people.token import ApiToken
    from app.models.people.user import User

    with _database().transaction() as session:
        person = User.require(session, owner) if owner else None
        secret = ApiToken.add(session, name, role.value, owner=person, days=days, by=_actor())
    print(secret)


@token.command(name="list")
def list_tokens() -> None:
    """Every token, with its owner and its last use."""
    from app.models.people.token import ApiToken

    with _database_as_it_is().reading() as session:
        for one in ApiToken.all(session):
            owner = one.owner.name if one.owner else "-"
            used = f"{one.last_used_at:%Y-%m-%d %H:%M}" if one.last_used_at else "never used"
            until = f"until {one.expires_at:%Y-%m-%d %H:%M}" if one.expires_at else "-"
            print("\t".join((one.name, one.reach, owner, one.state, until, used)))


@token.command(name="revoke")
def revoke_tokens(name: Name, /) -> None:
    """Revoke every token of a name.

    Args:
        name: of the tokens.
    """
    from app.models.people.token import ApiToken
    from ml.ground.counted import counted

    with _database().transaction() as session:
        count = ApiToken.revoke(session, name, by=_actor())
    print(f"{counted(count, 'token')} of {name} revoked.")


@key.command(name="adopt")
def adopt_key() -> None:
    """Go on with another key because the old one is lost.

    Known patients' new examinations will not be found beside the old ones.
    """
    from app.models.ground.installation import Fingerprint
    from app.models.people.second_factor import SecondFactor
    from app.settings import settings

    installation_key = settings().key()
    with _database().transaction() as session:
        changed = Fingerprint.adopt(session, installation_key, _actor())
        apps = len(SecondFactor.everybodys(session))
    print("The key is this database's from now on." if changed else "It is this database's key.")
    if changed and apps:
        print(
            f"Authenticator apps whose secret opens with the old key alone: {apps}. Reset each: "
            "python -m app user totp-reset NAME."
        )


@audit.command(name="verify")
def verify_audit(*, kept: Annotated[str, Parameter(metavar="HEAD")] = "") -> None:
    """Whether every event is what was written, and none is missing; prints the trail's head.

    Keep the head elsewhere: of a trail whose end was removed, only a later head tells.

    Args:
        kept: a head that was printed earlier; it must still be there.
    """
    from app.models.ground.trail import Head
    from app.operation.trail import Verification
    from app.settings import settings
    from ml.progress import drive

    chosen = settings()
    key = chosen.key() if chosen.has_key else None
    found = Verification(key, Head.read(kept) if kept else None)
    with _database_as_it_is().reading() as session:
        drive(found.run(session))
    for line in found.faults:
        print(line, file=sys.stderr)
    found.refuse_faults()
    print(found.words)


@audit.command(name="export")
def export_audit(
    *,
    since: Annotated[str, Parameter(metavar="DATE")] = "",
    until: Annotated[str, Parameter(metavar="DATE")] = "",
) -> None:
    """Print the audit trail as CSV, in its order.

    Args:
        since: events of this day and later, as 2026-01-31 (UTC).
        until: events of this day and earlier.
    """
    from app.models.ground.event import Event
    from app.operation.trail import Days, table

    days = Days.read(since, until)
    with _database().transaction() as session:
        Event.record(session, _actor(), "audit trail exported", since=since, until=until)
    with _database_as_it_is().reading() as session:
        for line in table(session, days):
            print(line, end="")


@patient.command(name="delete")
def delete_patient(
    name: Annotated[str, Parameter(name="PSEUDONYM")],
    /,
    *,
    reference: Annotated[str, Parameter(metavar="TEXT")] = "",
    dry_run: bool = False,
) -> None:
    """Delete all that there is of a patient for good, and print a certificate of it.

    Cases, lesions, classes and scores go, and what was made of them: ROIs in frozen data sets,
    pictures of finished reader studies. What is being read or trained on is refused.

    Args:
        name: of the patient, as the work list has it.
        reference: your number of the matter, for the certificate; it stays, so no name.
        dry_run: say what would go, and delete nothing.
    """
    from app.models.erasures.certificate import Certificate
    from app.models.erasures.erasure import Erasure, ErasureKind
    from app.models.erasures.extent import Extent, cases_called, hindrances
    from app.operation.erasing import Erasing
    from app.settings import settings
    from ml.progress import drive

    database = _database_as_it_is() if dry_run else _keyed_database()
    with database.reading() as session:
        found = [case.id for case in cases_called(session, name)]
        why, extent = hindrances(session, found), Extent.of(session, found)
    if dry_run:
        print("\n".join(("Nothing is deleted. What would go:", *Certificate.of(extent).lines)))
        print("\n".join(("What stands in the way:", *why) if why else ("Nothing is in the way.",)))
        return
    erasing = Erasing(database, settings())
    erasing.register.refuse_unusable()
    with database.transaction() as session:
        begun = Erasure.begin(
            session, ErasureKind.PATIENT, _actor(), extent, cases=found, reference=reference
        )
    drive(erasing.run(begun.id, _actor()))
    with database.reading() as session:
        told = Erasure.require(session, begun.id)
        print(f"Certificate of deletion {told.id}")
        print(f"Pseudonym: {name} (kept nowhere here)")
        print(f"Asked for by {told.asked_by}, {told.begun_at:%Y-%m-%d %H:%M} UTC; {told.state}.")
        if told.reference:
            print(f"Reference: {told.reference}")
        print("\n".join(("What was deleted:", *Certificate.of(told.extent).lines)))
    print(f"It stands in the register of deletions {erasing.register.path.absolute()}")


@application.command
def retention(*, dry_run: bool = False) -> None:
    """Delete what is older than the settings keep it (HEPATICA_KEEP_…_DAYS), as clerks do hourly.

    Args:
        dry_run: say what would go, and delete nothing.
    """
    from app.operation.erasing import Erasing
    from app.operation.retention import Due
    from app.settings import settings
    from ml.progress import drive

    chosen = settings()
    database = _database_as_it_is() if dry_run else _keyed_database()
    with database.reading() as session:
        due = Due.of(session, chosen)
    print("\n".join(due.lines(chosen)))
    if dry_run:
        print("Nothing is deleted.")
        return
    erasing = Erasing(database, chosen)
    if due.cases or due.studies:
        erasing.register.refuse_unusable()
    begun = due.begin(database, _actor())
    for erasure_id in begun:
        drive(erasing.run(erasure_id, _actor()))
        print(f"Deletion {erasure_id} has its certificate at /erasures/{erasure_id}.")


@pacs.command(name="check")
def check_pacs(
    name: Annotated[str, Parameter(name="NAME")] = "", /, *, store: bool = False
) -> None:
    """Try each service of a PACS; nothing stays there, unless --store is given.

    Hooks are reached as well, where no PACS is named; nothing is told to them.

    Args:
        name: of the PACS; default: each that is configured.
        store: store a test object as well and look for it; it stays there.
    """
    from app.errors import AppError
    from app.jobs import hooks
    from app.pacs.check import State, check
    from app.pacs.configured import ConfiguredPacs
    from app.settings import settings

    configured = ConfiguredPacs.of(settings())
    receivers = hooks.read(settings().hooks_file)
    failed = 0
    for one in [configured.named(name)] if name or not len(configured) else configured.all:
        print(f"{one.name}: {one.url}", flush=True)
        for found in check(one, store=store):
            print(f"  {found.service} {found.state}: {found.words}", flush=True)
            failed += found.state is State.FAILS
    for hook in [] if name else receivers.values():
        why = hook.unreachable()
        told = f"fails: {why}" if why else "can be reached; nothing was told to it"
        print(f"hook {hook.name}: {hook.place}\n  it {told}.", flush=True)
        failed += bool(why)
    if failed:
        raise AppError(f"{failed} of the trials failed.")


@application.command
def work(*, jobs: Jobs = 0, once: bool = False) -> None:
    """Execute queued runs (needs PyTorch: make worker).

    Args:
        jobs: tasks at a time; 0: one per core.
        once: end when no run waits.
    """
    from app import logs
    from app.database_file import narrow_folder
    from app.errors import AppError
    from app.settings import settings

    try:
        from app.worker import Worker
    except ModuleNotFoundError as error:
        raise AppError(
            f"The worker needs {error.name}, which serving does not install. Use `make worker`."
        ) from error
    logs.begin(settings())
    database, runs_dir = _keyed_database(), settings().runs_dir
    runs_dir.mkdir(parents=True, exist_ok=True)
    narrow_folder(runs_dir)
    worker = Worker(database, runs_dir, jobs)
    logs.say(settings(), f"Worker {worker.name} waits for runs (Ctrl+C ends it).")
    worker.work(once=once)


@application.command(name="dicom-node")
def dicom_node(
    *,
    aet: Annotated[str, Parameter(metavar="NAME")],
    port: Annotated[Whole, Parameter(metavar="N")],
    host: str = "127.0.0.1",
    phase: str = "unknown",
) -> None:
    """Take images and marks by DICOM (C-STORE) from whom HEPATICA_NODE_CALLERS names.

    Args:
        aet: what the node is called.
        port: where it listens.
        host: address to listen on; a network that is closed to strangers, as DICOM has no
            passwords.
        phase: contrast phase of all that comes: portal, other or unknown.
    """
    from app import logs
    from app.node.node import Listening
    from app.node.serving import node_of, serve
    from app.settings import settings

    logs.begin(settings())
    at = settings().but(host=host, port=port)  # held to the bounds of the server's own
    listening = Listening(aet, at.host, at.port, at.node_associations)
    node = node_of(settings(), _keyed_database(), listening, phase)
    logs.say(settings(), f"DICOM node {aet}: {at.host}, port {at.port} (Ctrl+C ends it)")
    serve(node)


@application.command
def clerk(*, once: bool = False) -> None:
    """Do jobs, tell hooks their end and return results, as the web processes do.

    Args:
        once: end when nothing is due.
    """
    from app import logs
    from app.inference import Inference
    from app.jobs import hooks
    from app.jobs.clerk import Clerk
    from app.jobs.fetcher import Fetchers
    from app.jobs.messenger import Messengers
    from app.pacs.configured import ConfiguredPacs
    from app.settings import settings
    from app.watch import Watch

    chosen = settings()
    logs.begin(chosen)
    database = _keyed_database()
    found, pacs = hooks.read(chosen.hooks_file), ConfiguredPacs.of(chosen)
    inference = Inference(chosen.inference_threads, chosen.set_level)
    one = Clerk(database, inference, Watch(database), chosen)
    messenger = Messengers(database, found, pacs, chosen, chosen.key())
    fetcher = Fetchers(database, pacs, chosen, chosen.key())
    logs.say(chosen, f"{one.name} waits for jobs (Ctrl+C ends it).")
    if not once:
        messenger.start()
        fetcher.start()
    one.work(once=once)
    if once:
        fetcher.work_off()
        messenger.work_off()


@application.command
def backup(folder: Annotated[Path, Parameter(name="DIR")], /) -> None:
    """Copy the database, of one moment and while it is used, into a new folder under DIR.

    Every stored object is compared with its name. The installation key is not in it: keep that
    apart, or the backup opens what is encrypted in it.

    Args:
        folder: where backups are kept; each gets a folder of its own there.
    """
    from app.db import Database
    from app.models.ground.event import Event
    from app.operation.backup import Backup
    from app.operation.verify import refuse_damaged
    from app.schema import Schema
    from app.settings import settings
    from ml.progress import drive

    database = Database(settings().database_url, patience_s=_PATIENCE_S)
    made = Backup(database, folder)
    drive(made.run())
    manifest = made.manifest
    print(f"{made.folder}: {manifest.contents.words}; the copy has {manifest.bytes / 1e6:,.1f} MB.")
    if manifest.contents.trail:
        print(f"Head of the audit trail in it: {manifest.contents.trail}")
    if database.found_schema() == Schema.CURRENT:
        with database.transaction() as session:
            Event.record(session, _actor(), "backup made", made.folder.name, sha256=manifest.sha256)
    refuse_damaged(
        manifest.contents,
        "The backup is made; but take them from an earlier one, where they may be whole.",
    )


@application.command
def restore(folder: Annotated[Path, Parameter(name="BACKUP")], /) -> None:
    """Put a backup into a fresh place: a new file, or an empty PostgreSQL database.

    The place is HEPATICA_DATABASE_URL; the installation key must be there already.

    Args:
        folder: what `backup` printed.
    """
    from app.operation.restore import Restore
    from app.settings import settings
    from ml.progress import drive

    restored = Restore(folder, settings(), _actor())
    drive(restored.run())
    manifest = restored.manifest
    print(
        f"Restored as of {manifest.made_at}: {manifest.contents.words}. Everybody signs in anew. "
        "Accounts, rights and tokens are as they were then: disable and revoke again what was "
        "disabled and revoked since."
    )
    print("\n".join(restored.cleared))


@application.command
def verify(folder: Annotated[Path | None, Parameter(name="BACKUP")] = None, /) -> None:
    """Whether what is stored is what was stored: in the database, or in a backup.

    Args:
        folder: what `backup` printed; default: the database that is in use.
    """
    from app.operation.verify import InUse, OfBackup
    from app.settings import settings
    from ml.progress import drive

    if folder is None:
        in_use = InUse(_database_as_it_is(), settings())
        drive(in_use.run())
        print(f"All is what was stored: {in_use.found.words}.")
    else:
        kept = OfBackup(folder)
        drive(kept.run())
        print(f"All is what was kept on {kept.manifest.made_at}: {kept.manifest.contents.words}.")


@application.command
def units(
    folder: Annotated[Path, Parameter(name="DIR")],
    /,
    *,
    account: Annotated[str, Parameter(metavar="NAME")] = "hepatica",
    settings: Annotated[Path, Parameter(metavar="FILE")] = Path("/etc/hepatica/settings"),
) -> None:
    """Write units of systemd for web, worker and DICOM node, each in a sandbox, into DIR.

    Data lie in /var/lib/hepatica/var then, which systemd makes.

    Args:
        folder: /etc/systemd/system, or one to look at them first.
        account: whom the services run as.
        settings: file with a line HEPATICA_…=… for each setting.
    """
    from app.operation.units import Units

    made = Units(Path(sys.executable), account, settings).write(folder)
    print("\n".join(map(str, made)))
    print(
        f"Once: useradd --system --shell /usr/sbin/nologin {account}; systemctl daemon-reload; "
        "systemctl enable --now hepatica-web. Worker and DICOM node only where they are wanted."
    )


@application.command
def demo(*, if_empty: bool = False) -> None:
    """Fill an empty database with simulated content.

    Args:
        if_empty: do nothing when there are accounts.
    """
    _fill(_keyed_database(), only_if_empty=if_empty)


def _fill(database: Database, *, only_if_empty: bool) -> None:
    from app import demo
    from app.settings import settings

    demo.fill(database, settings().key(), only_if_empty=only_if_empty)


def _words(error: Exception) -> str | None:
    """The sentence for what the application refuses."""
    from pydantic import ValidationError
    from sqlalchemy.exc import SQLAlchemyError

    from app.errors import AppError
    from app.faults import code
    from app.jobs.hooks import HookRefused
    from app.oidc import OidcRefused
    from app.operation.syslog import SyslogRefused
    from app.pacs.configured import PacsRefused
    from app.settings import KeyRefused

    refusals = (AppError, KeyRefused, HookRefused, OidcRefused, PacsRefused, SyslogRefused)
    if isinstance(error, refusals):
        return str(error)
    if isinstance(error, ValidationError):  # of the settings
        return "; ".join(_setting(item) for item in error.errors())
    if isinstance(error, SQLAlchemyError):
        return f"the database failed: {code(error)}"
    return None


def _setting(item: ErrorDetails) -> str:
    name = ".".join(str(part) for part in item["loc"]).upper()
    words = item["msg"].removeprefix("Value error, ")
    return words if words.startswith("HEPATICA_") else f"HEPATICA_{name}: {words}"


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 a refusal (told on stderr), 2 wrong arguments, 130 interrupted."""
    os.umask(0o077)  # what is made here is patients' data, for this account alone
    return terminal.run(application, argv, _words)


if __name__ == "__main__":
    sys.exit(main())
