"""What DICOM objects mark: the regions of segmentations, structure sets, reports and presentation
states, each as a lesion's place on an image."""
