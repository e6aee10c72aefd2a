"""A network that thresholds grey values, for images of one shape."""

import torch
from torch import nn

from tests.builders import linear

SHAPE = (12, 10, 9)


def thresholding() -> nn.Module:
    """Return a network whose logit of label 1 is twice the grey value, of 0 nothing."""
    network = linear(3)
    network.weight.data[:] = torch.tensor([0.0, 2.0]).reshape(2, 1, 1, 1, 1)
    return network
