"""Checkpoints that share a network's bytes are told apart in what they say."""

from __future__ import annotations

import dataclasses

import numpy as np

from app.models import Checkpoint
from ml.images.roi import Box, Roi


def test_the_same_network_under_another_name_for_another_kind_of_image_claims_only_its_own(
    app, session
):
    first = Checkpoint.require(session, "phantom-cnn")
    other = Checkpoint(
        name="hospital-cnn",
        kind=first.kind,
        training_kind="calibrated",
        dataset_digest=first.dataset_digest,
        meta={**first.meta, "name": "hospital-cnn", "training_kind": "calibrated"},
        card="",
        onnx_digest=first.onnx_digest,
        weights_digest=first.weights_digest,
        trust_digest=first.trust_digest,
    )
    session.add(other)
    session.flush()
    for kind in ("calibrated", "uncalibrated", "phantom"):
        meta = dataclasses.replace(first.file, training_kind=kind)
        assert meta.foreign(phantom_image=True, calibrated=False) is not None
    roi = Roi(np.zeros((64, 64), np.float32), True, None, Box(0, 0, 64, 64), 30.0, ())
    inference = app.state.inference
    for row, phantom in ((first, True), (other, False), (first, True)):
        scores = inference.scores(session, row, roi, phantom=phantom)
        assert scores.checkpoint == row.name
        assert scores.said.calibrated
        assert not inference.scores(session, row, roi, phantom=not phantom).said.calibrated
