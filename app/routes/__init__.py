"""Pages and API, one resource a file. Handlers parse, ask a model, and answer."""

from fastapi import APIRouter

from app.routes import (
    api,
    cases,
    checkpoints,
    docs,
    health,
    lesions,
    patterns,
    pixels,
    reader_studies,
    readings,
    results,
    reviews,
    sessions,
    stimuli,
    synthetics,
    users,
)

ROUTERS: tuple[APIRouter, ...] = (
    api.router,  # first: routes are tried in order, and programs ask the most
    health.router,
    sessions.router,
    cases.router,
    pixels.router,
    lesions.router,
    reviews.router,
    checkpoints.router,
    synthetics.router,
    reader_studies.router,
    results.router,
    readings.router,
    stimuli.router,
    users.router,
    docs.router,
    patterns.router,
)
