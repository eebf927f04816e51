"""The science of Hepatica, usable without the web."""

import os

# The wheels of ONNX Runtime report to their maker unless this stands in the environment before the
# library is first imported; `onnxruntime.disable_telemetry_events()` comes too late. Every way to
# ONNX Runtime leads through this package, in workers and on a cluster as well.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
