"""BentoML with the same network and the same body; run by a Python that has it."""

from __future__ import annotations

import os

import bentoml
import numpy as np
import onnxruntime
from PIL.Image import Image


@bentoml.service(workers=len(os.sched_getaffinity(0)), traffic={"timeout": 60})
class Classifier:
    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            os.environ["ONNX"], options, providers=["CPUExecutionProvider"]
        )

    @bentoml.api
    def classify(self, image: Image) -> dict[str, list[float]]:
        x = np.asarray(image.convert("L")).astype(np.float32) / 127.5 - 1
        (found,) = self._session.run(["probabilities"], {"rois": x[None, None]})
        return {"probabilities": found[0].tolist()}
