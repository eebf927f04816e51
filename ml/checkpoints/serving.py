"""What predicts and draws: ONNX Runtime and NumPy, no torch.

Both classes are safe to share between threads; a session computes in ``threads`` of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from ml.checkpoints.checkpoint import Checkpoint, CheckpointError, CheckpointKind
from ml.checkpoints.latents import latent as latent
from ml.checkpoints.latents import noise
from ml.images import ends, quick
from ml.images.roi import Roi
from ml.lesion import ROI_SIZE_PX
from ml.trust import agreement, record
from ml.trust.answer import Said
from ml.trust.record import Seen, Trust

Pixels = npt.NDArray[np.float32]

_CLASSIFIER_BATCH = 128
_MEMBERS = "members"


@dataclass(frozen=True)
class Outputs:
    """What the classifier says about n ROIs.

    Attributes:
        probabilities: (n, classes), rows sum to 1.
        logits: (n, classes), before the softmax; of an ensemble the mean of its networks'.
        features: (n, 256), the dense layer before the output; of an ensemble one network's after
            the other's, of the networks that have not seen the test fold.
        members: (n, networks, classes), the logits of each network of an ensemble; None: it is one
            network.
    """

    probabilities: Pixels
    logits: Pixels
    features: Pixels
    members: Pixels | None = None


def _session(onnx: bytes, name: str, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # idle threads must not burn the cores that requests need
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises a dozen unrelated types
        raise CheckpointError(
            f"Checkpoint {name}: its ONNX file cannot be used: {error}"
        ) from error


class Classifier:
    """Class probabilities of ROIs.

    Args:
        onnx: ``model.onnx`` of a classifier.
        meta: its checkpoint.
        threads: ONNX Runtime threads per call; 1 suits a server that answers many at once.
        trust: what its answers are made with besides the network; None: nothing was measured.

    Raises:
        CheckpointError: not a classifier, or a damaged file.
    """

    def __init__(
        self, onnx: bytes, meta: Checkpoint, threads: int = 1, trust: Trust | None = None
    ) -> None:
        if meta.kind != CheckpointKind.CLASSIFIER:
            raise CheckpointError(f"Checkpoint {meta.name} is a {meta.kind}, not a classifier.")
        self.meta = meta
        self.trust = trust
        # said beside every score, so not made anew each time
        self._limits = {told: meta.limits_of(calibrated=told) for told in (True, False)}
        session = _session(onnx, meta.name, threads)
        self._run = session.run
        self._names = ["probabilities", "logits", "features"]
        several = any(one.name == _MEMBERS for one in session.get_outputs())
        if several != (meta.ensemble is not None):
            raise CheckpointError(
                f"Checkpoint {meta.name}: its ONNX file is "
                f"{'an ensemble' if several else 'one network'}, and its checkpoint.json says "
                f"{'one network' if several else 'an ensemble'}."
            )
        if several:
            self._names.append(_MEMBERS)
        found = self.outputs(np.zeros((1, ROI_SIZE_PX, ROI_SIZE_PX), np.float32))
        classes = found.probabilities.shape[1]
        if classes != len(meta.scheme):
            raise CheckpointError(
                f"Checkpoint {meta.name} has {classes} outputs for {len(meta.scheme)} classes."
            )
        if meta.ensemble is None or found.members is None:
            return
        if found.members.shape != (1, meta.ensemble.networks, classes):
            raise CheckpointError(
                f"Checkpoint {meta.name}: its ONNX file answers with members of shape "
                f"{found.members.shape[1:]}; {meta.ensemble.networks} networks of {classes} "
                "classes belong to it."
            )

    def probabilities(self, rois: Pixels) -> Pixels:
        """(n, classes) for ROIs (n, 64, 64) in [-1, 1].

        Raises:
            CheckpointError: another shape, or values that are not finite.
        """
        return self._compute(rois, ["probabilities"])[0]

    def outputs(self, rois: Pixels) -> Outputs:
        """Probabilities with logits and features; ROIs as for ``probabilities``."""
        return Outputs(*self._compute(rois, self._names))

    def limits_of(self, said: Said) -> str:
        """What stands behind one of its answers, in a few words."""
        return self._limits[said.calibrated]

    def said(self, rois: Sequence[Roi], phantoms: Sequence[bool], level: float) -> list[Said]:
        """What is said of each ROI: the one path of web, API and reports.

        Args:
            phantoms: whether each one's image was simulated.
            level: of the prediction sets.

        Raises:
            CheckpointError: values that are not finite.
        """
        pixels = np.stack([roi.pixels for roi in rois])
        outputs = self.outputs(pixels)
        logits, keys = outputs.logits.astype(np.float64), self.meta.scheme.keys
        if self.trust is None:
            found = [record.untold(row, keys) for row in logits]
            return self._agreeing(found, outputs, 1.0)
        window = self.meta.measured_hu
        in_hu = window is not None
        alike = np.asarray([roi.calibrated == in_hu for roi in rois])
        measured = [roi for roi in rois if roi.calibrated == in_hu]
        sizes = [roi.longer_side_mm for roi in measured]
        compared = quick.measure(pixels[alike], window, sizes)
        seen = Seen(
            logits,
            outputs.features.astype(np.float64),
            alike,
            compared.values,
            [
                self.meta.foreign(phantom, roi.calibrated)
                for roi, phantom in zip(rois, phantoms, strict=True)
            ],
            ends.values(measured, compared, window),
        )
        return self._agreeing(self.trust.said(seen, level, keys), outputs, self.trust.temperature)

    def _agreeing(self, found: list[Said], outputs: Outputs, temperature: float) -> list[Said]:
        """With how far the networks agree, of an ensemble."""
        if outputs.members is None:
            return found
        named = np.asarray([self.meta.scheme.index(one.lesion_class) for one in found])
        said = agreement.told(outputs.members.astype(np.float64), named, temperature)
        return [replace(one, agreement=own) for one, own in zip(found, said, strict=True)]

    def _compute(self, rois: Pixels, names: list[str]) -> list[Pixels]:
        pixels = np.ascontiguousarray(rois, np.float32)
        if pixels.ndim != 3 or pixels.shape[1:] != (ROI_SIZE_PX, ROI_SIZE_PX) or not len(pixels):
            raise CheckpointError(
                f"ROIs must be (n, {ROI_SIZE_PX}, {ROI_SIZE_PX}) with n at least 1, not "
                f"{pixels.shape}."
            )
        if not np.isfinite(pixels).all():
            raise CheckpointError("An ROI holds a value that is not a finite number.")
        parts = [
            self._run(names, {"rois": pixels[start : start + _CLASSIFIER_BATCH, None]})
            for start in range(0, len(pixels), _CLASSIFIER_BATCH)
        ]
        return (
            parts[0] if len(parts) == 1 else [np.concatenate(p) for p in zip(*parts, strict=True)]
        )


class Generator:
    """Synthetic ROIs of one class; image n depends on seed n alone.

    Args:
        onnx: ``model.onnx`` of a generator.
        meta: its checkpoint.
        threads: ONNX Runtime threads per call.

    Raises:
        CheckpointError: not a generator, or a damaged file.
    """

    def __init__(self, onnx: bytes, meta: Checkpoint, threads: int = 1) -> None:
        if meta.kind != CheckpointKind.GENERATOR or meta.latent_size is None:
            raise CheckpointError(f"Checkpoint {meta.name} is a {meta.kind}, not a generator.")
        self.meta = meta
        self.latent_size = meta.latent_size
        self.sampler = meta.sampler
        session = _session(onnx, meta.name, threads)
        needed = {"latents"} if self.sampler is None else {"noisy", "sigma"}
        if {one.name for one in session.get_inputs()} != needed:
            raise CheckpointError(
                f"Checkpoint {meta.name}: its ONNX file is no network of the kind "
                f"{meta.network} that its checkpoint.json names."
            )
        self._run = session.run

    def draw(self, seeds: Sequence[int], truncation: float = 1.0) -> Pixels:
        """One ROI per seed, (n, 64, 64) in [-1, 1].

        Args:
            seeds: whole numbers in [0, 2⁶⁴).
            truncation: scale of the latent vector, or of the noise, in (0, 1]; below 1 draws nearer
                to the average lesion, with less variety.

        Raises:
            CheckpointError: a seed or a truncation out of range.
        """
        if not 0 < truncation <= 1:
            raise CheckpointError(f"truncation must be above 0 and at most 1, not {truncation}.")
        rois = np.empty((len(seeds), ROI_SIZE_PX, ROI_SIZE_PX), np.float32)
        # One at a time: kernels may sum in another order for another batch, and an image must not
        # depend on its neighbours.
        for i, seed in enumerate(seeds):
            rois[i] = self._one(seed, np.float32(truncation))
        return rois

    def _one(self, seed: int, truncation: np.float32) -> Pixels:
        if self.sampler is None:
            latents = latent(seed, self.latent_size)[None] * truncation
            drawn: Pixels = self._run(["rois"], {"latents": latents})[0][0, 0]
            return drawn
        start = noise(seed, ROI_SIZE_PX)[None] * truncation
        clean = self.sampler.draw(self._denoised, start)[0]
        roi: Pixels = np.clip(clean, -1, 1).astype(np.float32)
        return roi

    def _denoised(self, noisy: Pixels, sigma: float) -> Pixels:
        feed = {"noisy": noisy[:, None], "sigma": np.full(len(noisy), sigma, np.float32)}
        clean: Pixels = self._run(["rois"], feed)[0][:, 0]
        return clean


def load(root: str | Path | Checkpoint, threads: int = 1) -> Classifier | Generator:
    """Serve a checkpoint's folder, whichever kind it is; CheckpointError as the classes raise."""
    meta = root if isinstance(root, Checkpoint) else Checkpoint.load(root)
    if meta.kind == CheckpointKind.CLASSIFIER:
        return Classifier(meta.onnx(), meta, threads, meta.trust_of(meta.trust_bytes()))
    return Generator(meta.onnx(), meta, threads)
