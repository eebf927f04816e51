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
from ml.training import fused, runtime
from ml.training.captured import Captured
from ml.training.networks.cnn import Cnn

_RISE = 0.1
"""Share of the steps over which the linear schedule rises."""


@dataclass(frozen=True)
class Drawn:
    """What an epoch of n ROIs is made with.

    Attributes:
        order: (n,) positions of the ROIs.
        kept: (n, features) 1 where dropout keeps a feature, in the order of the steps; None: all.
        rates: the learning rate of each step.
    """

    order: torch.Tensor
    kept: torch.Tensor | None
    rates: list[float]


def draw(settings: config.Classifier, count: int, epoch: int, *seed: object) -> Drawn:
    """An epoch's draws: the same on every device.

    Args:
        count: training ROIs.
        seed: names the training.
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
    return Drawn(torch.from_numpy(order), kept, learning_rates(settings, epoch, steps))


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
    """

    def __init__(
        self,
        network: Cnn,
        pixels: npt.NDArray[np.float32],
        labels: npt.NDArray[np.int64],
        settings: config.Classifier,
        device: torch.device,
        capture: bool = True,
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
        with runtime.mixed(self.device, self.settings.precision):
            if self._fused:
                features = fused.features(self.network, images)
            else:
                features = self.network.features(images.float())
            if self.settings.dropout:
                kept = self._kept[at].to(features.dtype)
                features = features * kept.div_(1 - self.settings.dropout)
            logits = self.network.output(features).float()
        loss = torch.nn.functional.cross_entropy(logits, answers)
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


def on_device(pixels: npt.NDArray[np.float32], device: torch.device) -> torch.Tensor:
    """ROIs (n, 1, 64, 64) of (n, 64, 64) where they are trained on.

    A GPU keeps them as 16-bit numbers where these are the same: all that a run cuts and draws are.
    """
    images = torch.from_numpy(pixels)[:, None]
    if device.type != "cpu":
        half = images.half()
        images = half if torch.equal(half.float(), images) else images
    return images.to(device)
