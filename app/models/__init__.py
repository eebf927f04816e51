"""The nouns of the application, each with its table, its questions and its verbs.

A later one may import an earlier one:
blob → event, user, token → case → lesion, checkpoint → review, prediction
→ protocol, unblinding, stimulus → enrolment → trial → pool → reader_study → reading
→ desk, results.
"""

from app.models.blob import Blob
from app.models.case import Case, Image, Series
from app.models.checkpoint import Checkpoint
from app.models.enrolment import Enrolment
from app.models.event import Event
from app.models.lesion import Lesion
from app.models.prediction import Prediction
from app.models.protocol import Protocol
from app.models.reader_study import ReaderStudy
from app.models.reading import Reading
from app.models.review import Review
from app.models.stimulus import Stimulus
from app.models.token import ApiToken
from app.models.trial import Trial
from app.models.unblinding import Unblinding
from app.models.user import SignIn, User

__all__ = [
    "ApiToken",
    "Blob",
    "Case",
    "Checkpoint",
    "Enrolment",
    "Event",
    "Image",
    "Lesion",
    "Prediction",
    "Protocol",
    "ReaderStudy",
    "Reading",
    "Review",
    "Series",
    "SignIn",
    "Stimulus",
    "Trial",
    "Unblinding",
    "User",
]
