"""The cards of checkpoints: as files, and what their owners type for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from app.auth import Reader, Researcher
from app.db import Db, ReadDb
from app.errors import AppError, Conflict, Unreadable
from app.models.checkpoint import Checkpoint
from app.responses import page, see_other
from ml.checkpoints.card import exports
from ml.checkpoints.card.exports import FORMS, Format
from ml.checkpoints.card.words import FIELDS, MOST, WordsError

router = APIRouter(include_in_schema=False)


@router.get("/checkpoints/{name}/card")
def download(
    user: Reader, db: ReadDb, name: str, format: Annotated[Format, Query()] = Format.MARKDOWN
) -> Response:
    """The card as a file: Markdown, JSON, CHAI's XML, or checklists."""
    row = Checkpoint.require(db, name)
    form = FORMS[format]
    return Response(
        exports.written(row.made_card(db), format),
        media_type=form.media_type,
        headers={"content-disposition": f'attachment; filename="{row.name}{form.ending}"'},
    )


@router.get("/checkpoints/{name}/words")
def form(request: Request, user: Researcher, db: ReadDb, name: str) -> Response:
    """What only the owner can say, to be typed."""
    row = Checkpoint.require(db, name)
    row.refuse_words_of(user)
    return _page(request, row, row.owners_words.typed)


async def _typed(request: Request) -> dict[str, str]:
    sent = await request.form()
    twice = next((key for key in sent if len(sent.getlist(key)) > 1), None)
    if twice is not None:
        raise Unreadable(f"The form holds {twice[:40]!r} twice; nothing was kept.")
    return {key: value for key, value in sent.items() if isinstance(value, str)}


@router.post("/checkpoints/{name}/words")
def say(
    request: Request,
    user: Researcher,
    look: ReadDb,
    db: Db,
    name: str,
    sent: Annotated[dict[str, str], Depends(_typed)],
) -> Response:
    """Keep what the owner typed; a text that cannot be kept comes back to be mended."""
    typed = {key: text for key, text in sent.items() if key != "seen"}
    try:
        changed = Checkpoint.require(db, name).say(db, user, typed, sent.get("seen", ""))
    except WordsError as refusal:
        errors = {refusal.field: str(refusal)}
        return _page(request, Checkpoint.require(look, name), typed, Unreadable("…"), errors)
    except Conflict as refusal:
        return _page(request, Checkpoint.require(look, name), typed, refusal)
    told = "The card says what you typed." if changed else "Nothing was changed."
    return see_other(f"/checkpoints/{name}#card", told, "success" if changed else "info")


def _page(
    request: Request,
    row: Checkpoint,
    typed: Mapping[str, str],
    refusal: AppError | None = None,
    errors: Mapping[str, str] | None = None,
) -> Response:
    """The form; with what another has typed meanwhile where that is why it comes back."""
    kept: Mapping[str, Any] = row.owners_words.typed if isinstance(refusal, Conflict) else {}
    found = dict(errors or {})
    return page(
        request,
        "checkpoints/words.html",
        refusal.status if refusal else 200,
        checkpoint=row,
        fields=FIELDS,
        typed=typed,
        errors=found,
        error=refusal.detail if isinstance(refusal, Conflict) else found.get("", ""),
        others={key: text for key, text in kept.items() if text != typed.get(key, "")},
        most=MOST,
    )
