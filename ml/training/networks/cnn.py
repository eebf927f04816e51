"""The classifier of Frid-Adar et al. (2018), section III-D and figure 2."""

from __future__ import annotations

import torch
from torch import nn


class Cnn(nn.Module):
    """Three 3 × 3 valid convolutions (32, 64, 128), each with 2 × 2 max-pooling; 256; classes.

    1,273,347 parameters for three classes: the "approximately 1.3 M" of the paper, which only
    unpadded convolutions give. Initial weights are Glorot uniform with zero bias, the default of
    Keras, which the paper used.

    Args:
        classes: outputs.
        mean: scalar mean of the training ROIs in [0, 1], taken off the input.
        dropout: share of the dense layer's features dropped in training.
        features: width of the dense layer.
        width: channels of the first convolution; the paper's is 32.
    """

    def __init__(
        self,
        classes: int = 3,
        mean: float = 0.0,
        dropout: float = 0.5,
        features: int = 256,
        width: int = 32,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 3)
        self.conv2 = nn.Conv2d(width, 2 * width, 3)
        self.conv3 = nn.Conv2d(2 * width, 4 * width, 3)
        self.dense = nn.Linear(4 * width * 36, features)
        self.output = nn.Linear(features, classes)
        self.dropout = nn.Dropout(dropout)
        self.mean: torch.Tensor
        self.register_buffer("mean", torch.tensor(float(mean)))
        for layer in (self.conv1, self.conv2, self.conv3, self.dense, self.output):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def features(self, rois: torch.Tensor) -> torch.Tensor:
        """(n, features), at least 0, of ROIs (n, 1, 64, 64) in [-1, 1]."""
        x = (rois + 1) * 0.5 - self.mean
        for conv in (self.conv1, self.conv2, self.conv3):
            # pooling before the ReLU gives the same numbers at a quarter of the work
            x = torch.relu(nn.functional.max_pool2d(conv(x), 2))
        return torch.relu(self.dense(x.flatten(1)))

    def forward(self, rois: torch.Tensor) -> torch.Tensor:
        """Logits (n, classes) of ROIs (n, 1, 64, 64) in [-1, 1]."""
        logits: torch.Tensor = self.output(self.dropout(self.features(rois)))
        return logits
