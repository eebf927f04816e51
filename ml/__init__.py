"""The science of Hepatica, usable without the web.

``ml.load``, ``ml.arm``, ``ml.run``, ``ml.results`` and ``ml.predictions`` are for notebooks
(`ml.experiment.notebook`).
"""

import importlib
import os
from collections.abc import Callable
from typing import Any

# The wheels of ONNX Runtime report to their maker unless this stands in the environment before the
# library is first imported; `onnxruntime.disable_telemetry_events()` comes too late. Every way to
# ONNX Runtime leads through this package, in workers and on a cluster as well.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# told and not given: whoever imports a part of ml loads nothing else
load: Callable[..., Any]
arm: Callable[..., Any]
run: Callable[..., Any]
results: Callable[..., Any]
predictions: Callable[..., Any]


def __getattr__(name: str) -> object:
    if name in ("load", "arm", "run", "results", "predictions"):
        return getattr(importlib.import_module("ml.experiment.notebook"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
