"""DICOM objects as they leave: images rebuilt from what is kept, and what was said of lesions."""
