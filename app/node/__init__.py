"""The DICOM node: a door for what speaks DIMSE (C-ECHO, C-STORE), in a process of its own."""
