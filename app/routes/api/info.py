"""What this installation offers to programs."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from app.auth import Program
from app.db import ReadDb
from app.inference import most_of
from app.models.checkpoint import VERSION_SAYS, Checkpoint
from app.routes.api.problems import refuse_query
from app.routes.api.synthetics import MOST
from app.settings import VERSION
from ml.checkpoints.card import markdown
from ml.checkpoints.checkpoint import CheckpointKind
from ml.ground.records import to_json
from ml.lesion import ROI_SIZE_PX

router = APIRouter(tags=["info"])


class Window(BaseModel):
    """What a network looks at."""

    window_hu: tuple[float, float]
    roi_px: int = Field(description="Side of the ROI in pixels.")


class Labelling(BaseModel):
    """A checkpoint as tools for MONAI Label read it."""

    type: str = Field(description="classification or generation.")
    labels: dict[str, str] = Field(description="Class → how people call it.")
    dimension: int = Field(2, description="2: of one slice.")
    description: str = Field(description="What stands behind it, in one line.")
    config: Window


class TrainedOn(BaseModel):
    """How much a checkpoint was trained on."""

    n_lesions: int
    n_patients: int


class EnsembleTold(BaseModel):
    """The networks whose mean answers."""

    networks: int
    folds: int = Field(
        description="Of how many folds they are. 1: all were trained on the same patients; more: "
        "each lesion of the data set was seen by some, and nothing was held out from the whole."
    )


class Details(BaseModel):
    """A checkpoint with what is known of it."""

    name: str
    lesion_class: str | None = Field(description="The class that a generator draws.")
    most_at_once: int | None = Field(
        description="Synthetic ROIs of one call; null of a classifier."
    )
    scheme: object = Field(description="Name and classes, each with key, display and code.")
    window_hu: tuple[float, float]
    training_kind: str = Field(description="The kind of the images it was trained on.")
    dataset_digest: str
    preset: str
    training: TrainedOn | None
    ensemble: EnsembleTold | None = Field(description="null: it is one network.")
    limits: str
    warnings: list[str]
    metrics: object = Field(description="Of held-out patients, each with its interval.")


class Info(BaseModel):
    """Checkpoints, classes and limits."""

    name: str = "Hepatica"
    description: str = "Classification and synthesis of liver lesions in CT."
    version: str = VERSION
    labels: list[str] = Field(description="Every class of a served checkpoint.")
    models: dict[str, Labelling]
    use: str = "Research use only. Not a medical device."
    roi_px: int = ROI_SIZE_PX
    most_synthetics: int = MOST
    classifiers: list[Details]
    generators: list[Details]


@router.get("/info", summary="Checkpoints, classes and limits")
def info(program: Program, db: ReadDb) -> Info:
    """The served checkpoints with their lesion schemes, windows and held-out figures.

    `models` and `labels` stand as tools for MONAI Label read them; `/models/{name}` has the card.
    """
    served = [row for kind in CheckpointKind for row in Checkpoint.served(db, kind)]
    return Info(
        labels=sorted({key for row in served for key in row.scheme.keys}),
        models={row.name: _labelling(row) for row in served},
        classifiers=[_details(row) for row in served if row.kind == CheckpointKind.CLASSIFIER],
        generators=[_details(row) for row in served if row.kind == CheckpointKind.GENERATOR],
    )


class Model(Labelling):
    """A checkpoint, as tools for MONAI Label read it, with its card."""

    name: str
    served: bool = Field(description="Whether it is offered now.")
    digest: str = Field(description="SHA-256 of its network, ONNX.")
    version: str = Field(description=VERSION_SAYS)
    card: str = Field(description="The model card, Markdown; other forms at `/models/{name}/card`.")
    checkpoint: Details = Field(description="As in `/info`.")


@router.get("/models/{name}", summary="A checkpoint with its card")
def model(request: Request, program: Program, db: ReadDb, name: str) -> Model:
    """Served or not: scores that it gave are still there."""
    refuse_query(request)
    row = Checkpoint.require(db, name)
    return Model(
        **vars(_labelling(row)),
        name=row.name,
        served=row.served_since is not None,
        digest=row.onnx_digest,
        version=row.version,
        card=markdown.written(row.made_card(db)),
        checkpoint=_details(row),
    )


def _labelling(row: Checkpoint) -> Labelling:
    scheme = row.scheme
    return Labelling(
        type="classification" if row.kind == CheckpointKind.CLASSIFIER else "generation",
        labels={key: scheme.display(key) for key in scheme.keys if row.lesion_class in (None, key)},
        description=row.limits,
        config=Window(window_hu=row.window_hu, roi_px=ROI_SIZE_PX),
    )


def _details(row: Checkpoint) -> Details:
    told = row.file
    counts, several = told.trained_on, told.ensemble
    return Details(
        name=row.name,
        lesion_class=row.lesion_class,
        most_at_once=most_of(row, MOST) if row.kind == CheckpointKind.GENERATOR else None,
        scheme=row.meta["scheme"],
        window_hu=row.window_hu,
        training_kind=row.training_kind,
        dataset_digest=row.dataset_digest,
        preset=told.preset,
        training=TrainedOn(n_lesions=counts[0], n_patients=counts[1]) if counts else None,
        ensemble=EnsembleTold(networks=several.networks, folds=several.folds) if several else None,
        limits=told.limits,
        warnings=list(told.caveats),
        metrics=to_json(told.metrics),
    )
