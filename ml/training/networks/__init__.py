"""Networks: ``__init__`` and ``forward`` only, and their ONNX form (``export``)."""
