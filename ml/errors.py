"""The root of every refusal of ``ml``.

HepaticaError(ValueError)
 ├ SchemeError       ml.lesion      a lesion scheme that cannot be read
 ├ ConfigError       ml.config      an unknown or impossible setting
 ├ DicomError        ml.image       a file that is no usable CT image
 ├ RoiError          ml.roi         a box or an array that gives no ROI
 ├ ManifestError     ml.manifest    a data set that does not hold together
 ├ LeakageError      ml.folds       a test patient, or a synthetic ROI, where it must not be
 ├ PhantomError      ml.phantom     a phantom that cannot be made as asked
 └ CheckpointError   ml.checkpoint  a checkpoint that cannot be loaded or used
"""


class HepaticaError(ValueError):
    """Something a user gave cannot be used; the message says what happened and what to do."""
