"""The root of every refusal of ``ml``, and what the system's own errors are called.

HepaticaError(ValueError)
 ├ SchemeError           ml.lesion                  a lesion scheme that cannot be read
 ├ ConfigError           ml.config                  an unknown or impossible setting
 ├ DicomError            ml.images.ct_slice         a file that is no usable CT image
 ├ VolumeError           ml.images.nifti            a NIfTI file that is no volume of slices
 ├ MarkError             ml.marks.region            an object that marks no lesion
 ├ RoiError              ml.images.roi              a box or an array that gives no ROI
 ├ RulerError            ml.images.ruler            points that measure nothing on the slice
 ├ GreyRangeError        ml.images.greys            grey values that are no range of the image
 ├ ManifestError         ml.dataset.manifest        a data set that does not hold together
 │  └ PrepareError       ml.dataset.table           a table or folder from which none can be made
 ├ CellError             ml.dataset.table           one row of a table that cannot be used
 ├ AboutError            ml.dataset.about           words about a data set that cannot be read
 ├ LeakageError          ml.dataset.folds           a test patient or synthetic ROI out of place
 ├ FoldError             ml.dataset.folds           a data set that cannot be split as asked
 ├ PhantomError          ml.phantom                 a phantom that cannot be made as asked
 ├ CheckpointError       ml.checkpoints.checkpoint  a checkpoint that cannot be loaded or used
 ├ MembersError          ml.checkpoints.members     networks that cannot answer together
 ├ WordsError            ml.checkpoints.card.words  words of an owner that cannot be kept
 ├ DeviceError           ml.training.runtime        a device that this machine does not have
 ├ StateError            ml.training.runtime        the unfinished state of another run
 ├ TrustError            ml.trust.evidence          lesions that show nothing of an answer's worth
 ├ NoveltyError          ml.trust.novelty           ROIs of which no novelty score can be made
 ├ OpinionError          ml.trust.opinion           lesions that give no second opinion
 ├ StabilityError        ml.trust.stability         an ROI that cannot be disturbed as asked
 ├ SaliencyError         ml.trust.differentiated    a network of which no map can be drawn
 ├ MeasurementError      ml.training.simple         measurements of which nothing can be learned
 ├ OutputError           ml.progress                a file or folder that cannot be written
 ├ CollapseError         ml.training.gan            a generator that collapsed in every attempt
 ├ ClusterError          ml.experiment.parallel     a cluster that cannot be used
 ├ MemoryFullError       ml.experiment.lanes        one training alone does not fit the GPU
 ├ LostDeviceError       ml.experiment.lanes        a GPU that failed while it trained
 ├ RecordError           ml.ground.records          JSON that has not the form of a record
 ├ CurveError            ml.experiment.curve        a learning curve that cannot be made
 ├ TissueError           ml.experiment.tissue       slices in which nothing can be pasted
 ├ ResultsError          ml.experiment.results      no whole results of a run
 ├ EvaluationError       ml.experiment.again        a run that cannot be evaluated again
 ├ ReportError           ml.experiment.report       a folder of which no report can be made
 ├ TrackingError         ml.experiment.tracking     a run that MLflow does not take
 ├ ArchiveError          ml.images.archive          a zip that is not taken
 └ ReadersError          ml.readers                 ratings, or a plan, that cannot be analysed
    ├ RatingsFileError   ml.readers.files           a file of ratings that cannot be read
    └ LeakAuditError     ml.leak_audit.rendering    pictures of which no audit can be made
"""

from __future__ import annotations

import errno
import os
import re

_SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")


class HepaticaError(ValueError):
    """Something a user gave cannot be used; the message says what happened and what to do."""


def reason(error: OSError) -> str:
    """What the system said, in words: ``no space left on device``; never empty."""
    if error.errno is None and is_full(error):
        return _lower(os.strerror(errno.ENOSPC))
    return _lower(error.strerror or str(error) or type(error).__name__)


def is_full(error: OSError) -> bool:
    """Whether there was no room: a full disk, a quota, a file larger than is allowed."""
    if error.errno is None:
        # NumPy tells a full disk without the system's number
        return bool(_SHORT_WRITE.search(str(error)))
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _lower(words: str) -> str:
    return words[:1].lower() + words[1:] if words[1:2].islower() else words
