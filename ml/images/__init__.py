"""CT slices and what is read of them: DICOM and pictures, values, orientation, stacks, ROIs."""
