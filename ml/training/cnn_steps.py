"""Steps of the classifier's training, one epoch after another, over ROIs that stay on the device.

Whatever differs from step to step (which ROIs, which features are dropped, the learning rate) is
drawn for a whole epoch on the host and read by the device at a place that it counts itself. So the
host need not wait for the device within an epoch, and a GPU repeats one captured step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ml import config
from ml.lesion import ROI_SIZE_PX
from ml.training import fused, runtime
from ml.training.captured import Captured
from ml.training.networks.cnn import Cnn

_RISE = 0.1
"""Share of the steps over which the linear schedule rises."""
_ALPHA = {config.Mixing.MIXUP: 0.2, config.Mixing.CUTMIX: 1.0}
"""Both parameters of the beta distribution of the share, as the papers have them."""


@dataclass(frozen=True)
class Pairs:
    """Which ROI each is mixed with in an epoch, in the order of the steps.

    Attributes:
        partner: (n,) positions of ROIs of the same step.
        share: (n,) what is left of the first: of its label, and of its pixels.
        box: (n, 4) top, bottom, left, right of what is the partner's, in pixels; of CutMix alone.
    """

    partner: torch.Tensor
    share: torch.Tensor
    box: torch.Tensor


@dataclass(frozen=True)
class Drawn:
    """What an epoch of n ROIs is made with.

    Attributes:
        order: (n,) positions of the ROIs.
        kept: (n, features) 1 where dropout keeps a feature, in the order of the steps; None: all.
        rates: the learning rate of each step.
        pairs: None where ROIs are not mixed.
    """

    order: torch.Tensor
    kept: torch.Tensor | None
    rates: list[float]
    pairs: Pairs | None = None


def draw(
    settings: config.Classifier,
    count: int,
    epoch: int,
    *seed: object,
    mixing: config.Mixing | None = None,
) -> Drawn:
    """An epoch's draws: the same on every device.

    Args:
        count: training ROIs.
        seed: names the training.
        mixing: how ROIs are mixed in pairs, if they are.
    """
    order = runtime.generator("classifier", "order", *seed, epoch).permutation(count)
    kept = None
    if settings.dropout:
        source = torch.Generator()
        source.manual_seed(runtime.seed_for("classifier", "dropout", *seed, epoch))
        kept = torch.empty(count, settings.features, dtype=torch.uint8)
        # batch by batch, as torch.nn.Dropout would draw on a CPU
        for part in torch.split(kept, settings.batch):
            part.copy_(torch.empty(part.shape).bernoulli_(1 - settings.dropout, generator=source))
    steps = -(-count // settings.batch)
    pairs = None
    if mixing is not None:
        rng = runtime.generator("classifier", "mixing", *seed, epoch)
        pairs = _pairs(order, settings.batch, mixing, rng)
    return Drawn(torch.from_numpy(order), kept, learning_rates(settings, epoch, steps), pairs)


def _pairs(
    order: npt.NDArray[np.int64], batch: int, mixing: config.Mixing, rng: np.random.Generator
) -> Pairs:
    """Every ROI of a step is once the first and once the partner of a pair, maybe of its own."""
    steps = np.split(order, range(batch, len(order), batch))
    partner = np.concatenate([step[rng.permutation(len(step))] for step in steps])
    share = rng.beta(_ALPHA[mixing], _ALPHA[mixing], len(order))
    box = np.zeros((len(order), 4), np.int64)
    if mixing == config.Mixing.CUTMIX:
        half = ROI_SIZE_PX * np.sqrt(1 - share) / 2
        for side in (0, 2):
            centre = rng.uniform(0, ROI_SIZE_PX, len(order))
            ends = np.rint([centre - half, centre + half]).clip(0, ROI_SIZE_PX)
            box[:, side], box[:, side + 1] = ends
        area = (box[:, 1] - box[:, 0]) * (box[:, 3] - box[:, 2])
        # the label goes by the pixels that are really there
        share = 1 - area / ROI_SIZE_PX**2
    return Pairs(
        torch.from_numpy(partner), torch.from_numpy(share.astype(np.float32)), torch.from_numpy(box)
    )


def learning_rates(settings: config.Classifier, epoch: int, steps: int) -> list[float]:
    """The learning rate of each of an epoch's ``steps``; a function of the step alone."""
    if settings.schedule == config.Schedule.CONSTANT:
        return [settings.learning_rate] * steps
    whole = settings.epochs * steps
    shares = [step / whole for step in range(epoch * steps, (epoch + 1) * steps)]
    rising = [min(1.0, (share + 1 / whole) / _RISE) for share in shares]
    return [
        settings.learning_rate * up * (1 - share) for up, share in zip(rising, shares, strict=True)
    ]


class Steps:
    """A network in training, its optimizer, and the ROIs it is trained on.

    Args:
        network: is moved to the device, and trained in place.
        pixels: (n, 64, 64) in [-1, 1].
        labels: (n,) class positions.
        capture: False: a GPU, too, makes every step as it comes.
        mixing: how ROIs are mixed in pairs, if they are; each epoch must then be drawn so.
    """

    def __init__(
        self,
        network: Cnn,
        pixels: npt.NDArray[np.float32],
        labels: npt.NDArray[np.int64],
        settings: config.Classifier,
        device: torch.device,
        capture: bool = True,
        mixing: config.Mixing | None = None,
    ) -> None:
        self.settings, self.device = settings, device
        # channels last: 378 against 229 ROIs/s on one core
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network.train()
        self.images = on_device(pixels, device)
        self.answers = torch.from_numpy(labels).to(device)
        self._host = device.type == "cpu"
        self._fused = fused.usable(device)
        self._rate = torch.zeros((), device=device)
        self.optimizer = torch.optim.SGD(
            self.network.parameters(),
            # a number on a CPU, on a GPU a tensor that captured steps read
            settings.learning_rate if self._host else self._rate,
            settings.momentum,
            nesterov=settings.momentum > 0,
            fused=not self._host,
        )
        if not self._host and settings.momentum:
            # what the first step would make, so that it is a step like all others
            for parameter in self.network.parameters():
                self.optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        count = len(pixels)
        steps = -(-count // settings.batch)
        self._order = torch.zeros(count, dtype=torch.int64, device=device)
        self._kept = torch.ones(
            (count, settings.features) if settings.dropout else (0,),
            dtype=torch.uint8, device=device,
        )  # fmt: skip
        self._mixing = mixing
        mixed = count if mixing else 0
        self._partner = torch.zeros(mixed, dtype=torch.int64, device=device)
        self._share = torch.ones(mixed, device=device)
        self._box = torch.zeros((mixed, 4), dtype=torch.int64, device=device)
        self._line = torch.arange(ROI_SIZE_PX, device=device)
        self._rates = torch.zeros(steps, device=device)
        self._told: list[float] = []
        self._offsets = torch.arange(min(settings.batch, count), device=device)
        self._place = torch.zeros((), dtype=torch.int64, device=device)
        self._number = torch.zeros(1, dtype=torch.int64, device=device)
        self._loss = torch.zeros((), device=device)
        self._right = torch.zeros((), device=device)
        self._step_of = Captured(self._step, device) if capture else self._step
        self._sizes = [
            min(settings.batch, count - start) for start in range(0, count, settings.batch)
        ]

    def run(self, drawn: Drawn) -> None:
        """Make an epoch's steps; on a GPU this only says what is to be done."""
        self._order.copy_(drawn.order)
        if drawn.kept is not None:
            self._kept.copy_(drawn.kept)
        if drawn.pairs is not None:
            self._partner.copy_(drawn.pairs.partner)
            self._share.copy_(drawn.pairs.share)
            self._box.copy_(drawn.pairs.box)
        self._rates.copy_(torch.tensor(drawn.rates))
        self._told = drawn.rates
        for value in (self._place, self._number, self._loss, self._right):
            value.zero_()
        for size in self._sizes:
            self._step_of(size)

    def told(self) -> tuple[float, float]:
        """Mean loss and share of right answers of the last epoch; waits for its end."""
        loss, right = torch.stack([self._loss, self._right]).tolist()
        return loss / len(self.images), right / len(self.images)

    def _step(self, size: int) -> None:
        at = self._place + self._offsets[:size]
        chosen = self._order[at]
        images, answers = self.images[chosen], self.answers[chosen]
        if self._mixing is not None:
            images = self._mixed(images, at)
        with runtime.mixed(self.device, self.settings.precision):
            if self._fused:
                features = fused.features(self.network, images)
            else:
                features = self.network.features(images.float())
            if self.settings.dropout:
                kept = self._kept[at].to(features.dtype)
                features = features * kept.div_(1 - self.settings.dropout)
            logits = self.network.output(features).float()
        loss = self._loss_of(logits, answers, at)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        if self.settings.clip:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip)
        if self._host:
            self.optimizer.param_groups[0]["lr"] = self._told[int(self._number)]
        else:
            self._rate.copy_(self._rates[self._number][0])
        self.optimizer.step()
        self._loss += loss.detach() * size
        self._right += (logits.detach().argmax(1) == answers).sum()
        self._place += size
        self._number += 1

    def _mixed(self, images: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        """A step's ROIs (k, 1, 64, 64) with their partners in them, in float32."""
        images, others = images.float(), self.images[self._partner[at]].float()
        if self._mixing == config.Mixing.MIXUP:
            share = self._share[at][:, None, None, None]
            return share * images + (1 - share) * others
        top, bottom, left, right = self._box[at].unbind(1)
        rows = (self._line >= top[:, None]) & (self._line < bottom[:, None])
        columns = (self._line >= left[:, None]) & (self._line < right[:, None])
        return torch.where((rows[:, :, None] & columns[:, None, :])[:, None], others, images)

    def _loss_of(
        self, logits: torch.Tensor, answers: torch.Tensor, at: torch.Tensor
    ) -> torch.Tensor:
        """Mean cross entropy; of mixed ROIs with both labels, each by its share."""
        if self._mixing is None:
            return torch.nn.functional.cross_entropy(logits, answers)
        others, share = self.answers[self._partner[at]], self._share[at]
        first, second = (
            torch.nn.functional.cross_entropy(logits, of, reduction="none")
            for of in (answers, others)
        )
        return (share * first + (1 - share) * second).mean()


def on_device(pixels: npt.NDArray[np.float32], device: torch.device) -> torch.Tensor:
    """ROIs (n, 1, 64, 64) of (n, 64, 64) where they are trained on.

    A GPU keeps them as 16-bit numbers where these are the same: all that a run cuts and draws are.
    """
    images = torch.from_numpy(pixels)[:, None]
    if device.type != "cpu":
        half = images.half()
        images = half if torch.equal(half.float(), images) else images
    return images.to(device)
