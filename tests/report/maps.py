"""Attributions for tests of figures."""

from __future__ import annotations

import numpy as np
import torch

from esegeta.explain import Attribution, Meaning
from esegeta.explain.meaning import CONTRIBUTION
from esegeta.targets import FrozenTarget
from esegeta.volume import volume_from_tensor
from tests.builders import scene


def attribution_of(
    map_: np.ndarray, affine: np.ndarray, image: np.ndarray, meaning: Meaning = CONTRIBUTION
) -> Attribution:
    volume = volume_from_tensor(torch.from_numpy(image)[None], affine=affine)
    mask = torch.from_numpy(np.abs(map_) > 0)
    logits = torch.zeros((1, 2, *map_.shape))
    frozen = FrozenTarget(lambda y: y.sum(), mask, "logit", "a target", scene(logits))
    return Attribution(torch.from_numpy(map_)[None], meaning, "saliency", {}, volume, frozen)


def flat_map(meaning: Meaning = CONTRIBUTION) -> Attribution:
    ones = np.ones((6, 5), np.float32)
    return attribution_of(ones, np.eye(4), ones, meaning)
