"""Who may do what: the roles of people and of their tokens."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """Of an account; each role may do what those before it may."""

    READER = "reader"
    RESEARCHER = "researcher"
    ADMIN = "admin"


class TokenRole(StrEnum):
    """Of an API token: a person's, or ``machine`` for a program that acts for nobody."""

    READER = "reader"
    RESEARCHER = "researcher"
    ADMIN = "admin"
    MACHINE = "machine"


ROLES = tuple(Role)
TOKEN_ROLES = tuple(TokenRole)
