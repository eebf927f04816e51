"""Whose a job or a kept answer is: a person's, or that of a token which acts for nobody."""

from __future__ import annotations

import uuid
from dataclasses import dataclass


@dataclass(frozen=True)
class Holder:
    """Who asks, as far as belongings go: the person where there is one, else the token.

    Attributes:
        person: the person for whom a program acts.
        token: the token that it carries.
        name: who it is, for the record.
        admin: whether they may see what belongs to others.
    """

    person: uuid.UUID | None
    token: uuid.UUID | None
    name: str
    admin: bool = False

    @property
    def scope(self) -> str:
        """The same text for the same holder, and for nobody else."""
        return f"person {self.person}" if self.person else f"token {self.token}"
