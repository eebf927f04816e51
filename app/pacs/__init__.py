"""The PACS that this installation was told of: asked over DICOMweb, and nobody else is."""
