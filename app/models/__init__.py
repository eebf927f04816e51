"""The nouns of the application, each with its table, its questions and its verbs.

ground          what every table stands on: rows that stay, numbers, blobs, the audit trail
people          accounts, sign-ins, tokens, and who owns what
checkpoint      trained networks, and which of them are served
cases           an upload, its case, lesions, and what is said of them
runs            known lesions, frozen data sets, experiments
jobs            work that programs ask for, notices of its end, answers kept for repeated calls
reader_studies  composition, protocol, enrolment, the desk
study_results   answers, analysis, exports, after the unblinding
monitoring      a classifier in use: what it said month by month, and what it is worth here
worklist        cases with what is still to be done on them
beside          which lesions may be shown beside another one
correction      what was said wrongly of a case, put right
study_plans     what is assumed of readers, and powers that were simulated
erasures        what is deleted everywhere, with what was made of it

Each stands on some of those above it, and on none below.
"""

from app.models.cases.case import Case, Image, Series
from app.models.cases.lesion import Lesion
from app.models.cases.marking import Mark, Marking
from app.models.cases.measure import Measure
from app.models.cases.prediction import Prediction
from app.models.cases.review import Review
from app.models.cases.settlement import Settlement
from app.models.checkpoint import Checkpoint
from app.models.erasures.erasure import Erasure
from app.models.ground.blob import Blob
from app.models.ground.event import Event
from app.models.ground.installation import Fingerprint
from app.models.ground.trail import TrailEntry, TrailReceiver
from app.models.jobs.job import Job
from app.models.jobs.kept_answer import KeptAnswer
from app.models.jobs.notice import Notice
from app.models.jobs.returned_object import ReturnedObject
from app.models.people.identity import Identity
from app.models.people.second_factor import RecoveryCode, SecondFactor
from app.models.people.sign_in import SignIn
from app.models.people.tally import Tally
from app.models.people.token import ApiToken
from app.models.people.user import User
from app.models.reader_studies.audit import LeakAudit
from app.models.reader_studies.conduct import Conduct
from app.models.reader_studies.debriefing import Debriefing, Remark
from app.models.reader_studies.delivery import Delivery
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.look import Look
from app.models.reader_studies.protocol import Protocol
from app.models.reader_studies.reading import Reading
from app.models.reader_studies.sketch import Sketch, SketchChange, SketchSharing
from app.models.reader_studies.stimulus import Stimulus
from app.models.reader_studies.study import ReaderStudy
from app.models.reader_studies.trial import Trial
from app.models.reader_studies.unblinding import Unblinding
from app.models.reader_studies.withdrawal import Withdrawal
from app.models.runs.dataset import DatasetRemains, DatasetVersion
from app.models.runs.run import Run, RunLine, WorkerSign
from app.models.study_plans.pilot import Pilot
from app.models.study_plans.power import KeptPower
from app.models.study_results.analysis import Analysis

__all__ = [
    "Analysis",
    "ApiToken",
    "Blob",
    "Case",
    "Checkpoint",
    "Conduct",
    "DatasetRemains",
    "DatasetVersion",
    "Debriefing",
    "Delivery",
    "Enrolment",
    "Erasure",
    "Event",
    "Fingerprint",
    "Identity",
    "Image",
    "Job",
    "KeptAnswer",
    "KeptPower",
    "LeakAudit",
    "Lesion",
    "Look",
    "Mark",
    "Marking",
    "Measure",
    "Notice",
    "Pilot",
    "Prediction",
    "Protocol",
    "ReaderStudy",
    "Reading",
    "RecoveryCode",
    "Remark",
    "ReturnedObject",
    "Review",
    "Run",
    "RunLine",
    "SecondFactor",
    "Series",
    "Settlement",
    "SignIn",
    "Sketch",
    "SketchChange",
    "SketchSharing",
    "Stimulus",
    "Tally",
    "TrailEntry",
    "TrailReceiver",
    "Trial",
    "Unblinding",
    "User",
    "Withdrawal",
    "WorkerSign",
]
