"""Slips: what a form of the case page says it was filled in for, checked before it is obeyed.

A page can lag behind: the lesion on it may be another one by now, or the browser may be signed in
as another person. What such a page sends is refused in words, never stored for whom or what it was
not meant.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.errors import Conflict, Unreadable
from app.models.cases.lesion import Lesion
from app.models.people.user import User


@dataclass(frozen=True)
class Slip:
    """The ids of a lesion and of a person, and the lesion's number, as the page had them."""

    lesion: str
    number: str
    person: str

    def check(self, lesion: Lesion, user: User) -> None:
        """Let a form pass that was meant for this lesion and came from this person.

        Raises:
            Unreadable: the form does not say what it is for.
            Conflict: it is for another lesion, or from a page of somebody else.
        """
        if not (self.lesion and self.number and self.person):
            raise Unreadable(
                "The form does not say which lesion it is for and whose it is. Nothing was "
                "changed; reload the page."
            )
        refuse_other_person(self.person, user)
        if (self.lesion, self.number) != (str(lesion.id), str(lesion.number)):
            raise Conflict(
                f"The form was filled in for lesion {self.number[:10]} and sent to lesion "
                f"{lesion.number}. Nothing was changed; reload the page."
            )


def refuse_other_person(person: str, user: User) -> None:
    """Conflict when a page of somebody else sends something under this person's sign-in."""
    if person != str(user.id):
        raise Conflict(
            f"{user.name} is signed in in this browser now, and this page was opened by somebody "
            "else. Nothing was changed; reload the page.",
            person_changed=True,
        )
