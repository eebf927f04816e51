"""DICOM objects as they leave: images rebuilt from what is kept, and what was said of lesions."""

import warnings

# pseudonyms are names of one part, and are meant to be
warnings.filterwarnings(
    "ignore", message="The string .* is unlikely to represent", module="highdicom"
)
