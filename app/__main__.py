"""``python -m app``: argument parsing only."""

from __future__ import annotations

import argparse
import getpass
import os
import pwd
import sys

import uvicorn
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from sqlalchemy.exc import SQLAlchemyError

from app.database_file import narrow, narrow_folder
from app.db import Database
from app.edge import KEEP_ALIVE_S, Edge
from app.errors import AppError
from app.faults import code
from app.models.checkpoint import Checkpoint
from app.models.ground.installation import Fingerprint
from app.models.people.tally import Tally
from app.models.people.token import ApiToken
from app.models.people.user import ROLES, TOKEN_ROLES, User, hashed
from app.settings import KeyRefused, settings
from ml.errors import HepaticaError

_PATIENCE_S = 120.0
"""So long a command waits for the right to write; nobody waits for a command."""


def parser() -> argparse.ArgumentParser:
    """The command line; every command sets ``run``, a function of the arguments."""
    root = argparse.ArgumentParser(prog="python -m app", description="Hepatica for the web.")
    commands = root.add_subparsers(dest="command", required=True, metavar="command")
    configuration = settings()

    serve = commands.add_parser(
        "serve", help="migrate the database, register the shipped checkpoints, and serve"
    )
    serve.add_argument("--host", default=configuration.host)
    serve.add_argument("--port", type=int, default=configuration.port)
    serve.add_argument("--workers", type=int, default=configuration.workers)
    serve.add_argument(
        "--demo", action="store_true", help="first fill a database without accounts (make run)"
    )
    serve.set_defaults(run=_serve)

    user = commands.add_parser("user", help="accounts").add_subparsers(required=True, dest="verb")
    add = user.add_parser("add", help="make an account; the password is asked, or read from stdin")
    add.add_argument("name")
    add.add_argument("--role", choices=ROLES, required=True)
    add.set_defaults(run=_user_add)
    password = user.add_parser("password", help="set a new password; ends the person's sign-ins")
    password.add_argument("name")
    password.set_defaults(run=_user_password)
    unlock = user.add_parser("unlock", help="let a person sign in at once after refused tries")
    unlock.add_argument("name")
    unlock.set_defaults(run=_user_unlock)
    role = user.add_parser("role", help="let a person do more or less")
    role.add_argument("name")
    role.add_argument("role", choices=ROLES)
    role.set_defaults(run=_user_role)
    disable = user.add_parser("disable", help="take the right to sign in away; tokens end as well")
    disable.add_argument("name")
    disable.set_defaults(run=_user_disable)
    enable = user.add_parser("enable", help="give the right to sign in back")
    enable.add_argument("name")
    enable.set_defaults(run=_user_enable)
    listing = user.add_parser("list", help="every account")
    listing.set_defaults(run=_user_list)

    token = commands.add_parser("token", help="API tokens").add_subparsers(
        required=True, dest="verb"
    )
    make = token.add_parser("add", help="make a token and print it, this once")
    make.add_argument("name")
    make.add_argument("--role", choices=TOKEN_ROLES, required=True)
    make.add_argument(
        "--owner", metavar="NAME", help="the person for whom it acts; needed but for a machine"
    )
    make.add_argument("--days", type=float, help="how long it is good; else until it is revoked")
    make.set_defaults(run=_token_add)
    tokens = token.add_parser("list", help="every token, with its owner and its last use")
    tokens.set_defaults(run=_token_list)
    revoke = token.add_parser("revoke", help="revoke every token of a name")
    revoke.add_argument("name")
    revoke.set_defaults(run=_token_revoke)

    key = commands.add_parser("key", help="the installation key").add_subparsers(
        required=True, dest="verb"
    )
    adopt = key.add_parser(
        "adopt",
        help="go on with another key because the old one is lost: known patients' new "
        "examinations will not be found beside the old ones",
    )
    adopt.set_defaults(run=_key_adopt)

    work = commands.add_parser("work", help="execute queued runs (needs PyTorch: make worker)")
    work.add_argument("--jobs", type=int, default=0, help="tasks at a time; 0: one per core")
    work.add_argument("--once", action="store_true", help="end when no run waits")
    work.set_defaults(run=_work)

    demo = commands.add_parser("demo", help="fill an empty database with simulated content")
    demo.add_argument("--if-empty", action="store_true", help="do nothing when there are accounts")
    demo.set_defaults(run=_demo)
    return root


def _database() -> Database:
    """The database, brought up to this version's schema."""
    database = Database(settings().database_url, patience_s=_PATIENCE_S)
    database.migrate()
    narrow(settings().installation_key_file, 0o600)
    narrow_folder(settings().installation_key_file.parent)
    return database


def _database_as_it_is() -> Database:
    """The database for a command that only looks: it changes nothing, the schema neither."""
    database = Database(settings().database_url)
    database.require_schema()
    return database


def _actor() -> str:
    """Who is at the command line, as the operating system knows them."""
    user_id = os.getuid()
    try:
        return f"command line: {pwd.getpwuid(user_id).pw_name}"
    except KeyError:  # a container may run under a number alone
        return f"command line: user {user_id}"


def _keyed_database() -> Database:
    """The database, once it is clear that it belongs to the installation's key."""
    key = settings().key()
    database = _database()
    with database.transaction() as session:
        Fingerprint.confirm(session, key)
    return database


def _serve(arguments: argparse.Namespace) -> None:
    configuration = settings()
    database = _keyed_database()
    if arguments.demo:
        _fill(database, only_if_empty=True)
    with database.transaction() as session:
        Checkpoint.register_shipped(session)
    database.engine.dispose()
    print(f"Hepatica: http://{arguments.host}:{arguments.port} (Ctrl+C ends it)", flush=True)
    uvicorn.run(
        "app.main:create_app",
        factory=True,
        host=arguments.host,
        port=arguments.port,
        workers=arguments.workers,
        access_log=False,  # addresses of cases do not belong in a log
        log_level="info",
        server_header=False,
        http=Edge,
        ws="none",
        timeout_keep_alive=KEEP_ALIVE_S,
        forwarded_allow_ips=configuration.proxies or "127.0.0.1,::1",
        timeout_graceful_shutdown=10,
    )


def _password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    first = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != first:
        raise AppError("The two passwords differ; nothing was changed.")
    return first


def _user_add(arguments: argparse.Namespace) -> None:
    database = _database()
    password = _password()
    with database.transaction() as session:
        User.add(session, arguments.name, arguments.role, password, by=_actor())
    print(f"Account {arguments.name} ({arguments.role}) made.")


def _user_password(arguments: argparse.Namespace) -> None:
    database = _database()
    with database.reading() as session:
        User.require(session, arguments.name)
    password_hash = hashed(_password())
    with database.transaction() as session:
        user = User.require(session, arguments.name)
        user.set_password(session, password_hash, _actor())
    print(f"Password of {arguments.name} changed; whoever was signed in with the old one is not.")


def _user_role(arguments: argparse.Namespace) -> None:
    with _database().transaction() as session:
        User.require(session, arguments.name).set_role(session, arguments.role, _actor())
    print(f"{arguments.name} is {arguments.role} from now on.")


def _user_disable(arguments: argparse.Namespace) -> None:
    with _database().transaction() as session:
        User.require(session, arguments.name).disable(session, _actor())
    print(f"Account {arguments.name} is disabled.")


def _user_enable(arguments: argparse.Namespace) -> None:
    with _database().transaction() as session:
        User.require(session, arguments.name).enable(session, _actor())
    print(f"Account {arguments.name} is enabled.")


def _user_unlock(arguments: argparse.Namespace) -> None:
    key = settings().key()
    with _keyed_database().transaction() as session:
        Tally.unlock(session, key, User.require(session, arguments.name), _actor())
    print(f"{arguments.name} can sign in again at once.")


def _key_adopt(_arguments: argparse.Namespace) -> None:
    key = settings().key()
    with _database().transaction() as session:
        changed = Fingerprint.adopt(session, key, _actor())
    print("The key is this database's from now on." if changed else "It is this database's key.")


def _user_list(_arguments: argparse.Namespace) -> None:
    with _database_as_it_is().reading() as session:
        for user in User.everyone(session):
            state = "disabled" if user.disabled_at else "active"
            print(f"{user.name}\t{user.role}\t{state}")


def _token_add(arguments: argparse.Namespace) -> None:
    with _database().transaction() as session:
        owner = User.require(session, arguments.owner) if arguments.owner else None
        secret = ApiToken.add(
            session,
            arguments.name,
            arguments.role,
            owner=owner,
            days=arguments.days,
            by=_actor(),
        )
    print(secret)


def _token_list(_arguments: argparse.Namespace) -> None:
    with _database_as_it_is().reading() as session:
        for token in ApiToken.all(session):
            owner = token.owner.name if token.owner else "-"
            used = f"{token.last_used_at:%Y-%m-%d %H:%M}" if token.last_used_at else "never used"
            until = f"until {token.expires_at:%Y-%m-%d %H:%M}" if token.expires_at else "-"
            print("\t".join((token.name, token.reach, owner, token.state, until, used)))


def _token_revoke(arguments: argparse.Namespace) -> None:
    with _database().transaction() as session:
        count = ApiToken.revoke(session, arguments.name, by=_actor())
    print(f"{count} token(s) of {arguments.name} revoked.")


def _work(arguments: argparse.Namespace) -> None:
    try:
        from app.worker import Worker
    except ModuleNotFoundError as error:
        raise AppError(
            f"The worker needs {error.name}, which serving does not install. Use `make worker`."
        ) from error
    database, runs_dir = _keyed_database(), settings().runs_dir
    runs_dir.mkdir(parents=True, exist_ok=True)
    narrow_folder(runs_dir)
    worker = Worker(database, runs_dir, arguments.jobs)
    print(f"Worker {worker.name} waits for runs (Ctrl+C ends it).", flush=True)
    worker.work(once=arguments.once)


def _demo(arguments: argparse.Namespace) -> None:
    _fill(_keyed_database(), only_if_empty=arguments.if_empty)


def _fill(database: Database, *, only_if_empty: bool) -> None:
    from app import demo

    demo.fill(database, settings().key(), only_if_empty=only_if_empty)


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 a refusal (told on stderr), 2 wrong arguments, 130 interrupted."""
    os.umask(0o077)  # what is made here is patients' data, for this account alone
    try:
        arguments = parser().parse_args(argv)
        arguments.run(arguments)
    except (AppError, HepaticaError, KeyRefused) as error:
        return _told(str(error))
    except ValidationError as error:  # of the settings
        return _told("; ".join(_setting(item) for item in error.errors()))
    except SQLAlchemyError as error:
        return _told(f"the database failed: {code(error)}")
    except KeyboardInterrupt:
        return 130
    return 0


def _told(sentence: str) -> int:
    print(f"error: {sentence}", file=sys.stderr)
    return 1


def _setting(item: ErrorDetails) -> str:
    name = ".".join(str(part) for part in item["loc"]).upper()
    words = item["msg"].removeprefix("Value error, ")
    return words if words.startswith("HEPATICA_") else f"HEPATICA_{name}: {words}"


if __name__ == "__main__":
    sys.exit(main())
