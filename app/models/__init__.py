"""The nouns of the application, each with its table, its questions and its verbs.

A later one may import an earlier one:
blob → event, user, token → case → lesion, checkpoint → review, prediction → reader study.
"""

from app.models.blob import Blob
from app.models.case import Case, Image, Series
from app.models.checkpoint import Checkpoint
from app.models.event import Event
from app.models.lesion import Lesion
from app.models.prediction import Prediction
from app.models.review import Review
from app.models.token import ApiToken
from app.models.user import SignIn, User

__all__ = [
    "ApiToken",
    "Blob",
    "Case",
    "Checkpoint",
    "Event",
    "Image",
    "Lesion",
    "Prediction",
    "Review",
    "Series",
    "SignIn",
    "User",
]
