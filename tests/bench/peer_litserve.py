"""LitServe with the same network and the same body; run by a Python that has it.

No ``annotations`` of the future here: LitServe compares the class of a parameter with its own.
"""

import io
import os
import sys

import litserve
import numpy as np
import onnxruntime
from PIL import Image
from starlette.requests import Request


class Classifier(litserve.LitAPI):
    def setup(self, device: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            os.environ["ONNX"], options, providers=["CPUExecutionProvider"]
        )

    def decode_request(self, request: Request) -> np.ndarray:
        grey = np.asarray(Image.open(io.BytesIO(request["image"].file.read())).convert("L"))
        return grey.astype(np.float32) / 127.5 - 1

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self._session.run(["probabilities"], {"rois": x[None, None]})[0][0]

    def encode_response(self, output: np.ndarray) -> dict[str, list[float]]:
        return {"probabilities": output.tolist()}


if __name__ == "__main__":
    cores = len(os.sched_getaffinity(0))
    server = litserve.LitServer(Classifier(), accelerator="cpu", workers_per_device=cores)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=cores,
        log_level="error",
        generate_client_file=False,
    )
