"""The nouns of the application, each with its table, its questions and its verbs.

A later one may import an earlier one:
append_only, numbered → blob → event, installation, user, sign_in, tally, token, ownership
→ sketch, case → lesion, checkpoint → slip, review, prediction → design, protocol, unblinding,
withdrawal, stimulus → audit, enrolment → trial, conduct → exposure, pool → composition
→ reader_study → reading → desk; answers, held_out → analysis → results, exports;
dataset → correction.
"""

from app.models.analysis import Analysis
from app.models.audit import LeakAudit
from app.models.blob import Blob
from app.models.case import Case, Image, Series
from app.models.checkpoint import Checkpoint
from app.models.conduct import Conduct
from app.models.dataset import DatasetVersion
from app.models.enrolment import Enrolment
from app.models.event import Event
from app.models.installation import Fingerprint
from app.models.lesion import Lesion
from app.models.prediction import Prediction
from app.models.protocol import Protocol
from app.models.reader_study import ReaderStudy
from app.models.reading import Reading
from app.models.review import Review
from app.models.run import Run, RunLine, WorkerSign
from app.models.sign_in import SignIn
from app.models.sketch import Sketch
from app.models.stimulus import Stimulus
from app.models.tally import Tally
from app.models.token import ApiToken
from app.models.trial import Trial
from app.models.unblinding import Unblinding
from app.models.user import User
from app.models.withdrawal import Withdrawal

__all__ = [
    "Analysis",
    "ApiToken",
    "Blob",
    "Case",
    "Checkpoint",
    "Conduct",
    "DatasetVersion",
    "Enrolment",
    "Event",
    "Fingerprint",
    "Image",
    "LeakAudit",
    "Lesion",
    "Prediction",
    "Protocol",
    "ReaderStudy",
    "Reading",
    "Review",
    "Run",
    "RunLine",
    "Series",
    "SignIn",
    "Sketch",
    "Stimulus",
    "Tally",
    "Trial",
    "Unblinding",
    "User",
    "Withdrawal",
    "WorkerSign",
]
