"""Pages and API, one resource a file. Handlers parse, ask a model, and answer."""

from fastapi import APIRouter

from app.routes import (
    api,
    cases,
    checkpoints,
    datasets,
    docs,
    health,
    leak_audits,
    lesions,
    patterns,
    pixels,
    plans,
    reader_studies,
    readings,
    rehearsals,
    results,
    reviews,
    runs,
    sessions,
    sketches,
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
    plans.router,
    sketches.router,
    reader_studies.router,
    leak_audits.router,
    results.router,
    rehearsals.router,
    readings.router,
    stimuli.router,
    datasets.router,
    runs.router,
    users.router,
    docs.router,
    patterns.router,
)
