"""The digit classifier: a small convolutional network on 28x28 grey pictures."""

import torch
import torch.nn.functional as F  # noqa: N812  (the usual name for it)
from torch import Tensor, nn


class ConvNet(nn.Module):
    """Two convolutions and two linear layers, 300,426 parameters.

    The layer names ``cn1``, ``cn2``, ``fc1`` and ``fc2`` are the keys of the state_dict, so
    weights trained for the network of the same shape in "Mastering PyTorch" load unchanged.
    """

    def __init__(self) -> None:
        """Build the layers with fresh random weights."""
        super().__init__()
        self.cn1 = nn.Conv2d(1, 16, 3)
        self.cn2 = nn.Conv2d(16, 32, 3)
        self.dropout_maps = nn.Dropout2d(0.10)
        self.dropout_features = nn.Dropout(0.25)
        self.fc1 = nn.Linear(32 * 12 * 12, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Turn normalised pictures [N, 1, 28, 28] into log-probabilities [N, 10]."""
        x = F.relu(self.cn1(x))  # [N, 16, 26, 26]
        x = F.relu(self.cn2(x))  # [N, 32, 24, 24]
        x = self.dropout_maps(F.max_pool2d(x, 2))  # [N, 32, 12, 12]
        x = F.relu(self.fc1(torch.flatten(x, 1)))
        return F.log_softmax(self.fc2(self.dropout_features(x)), dim=1)
