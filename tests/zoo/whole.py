"""The same methods through MONAI's inferer: one graph of all windows, every edited image whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from esegeta.explain.perturbation.edited import Edits
from esegeta.explain.perturbation.edits import EditedTarget
from esegeta.model import held_still
from esegeta.predict import Predictor, Pullback
from tests.oracles import monai_prediction


class ByMonai(Predictor):
    """A predictor that takes no part of ours: slow, and all windows at each evaluation."""

    def logits(self, x: Tensor, **chosen: Any) -> Tensor:
        with torch.no_grad(), held_still(self.network):
            return monai_prediction(self, x)

    def pull_back_together(
        self, x: Tensor, cotangents: Sequence[Any], **chosen: Any
    ) -> list[Pullback]:
        leaf = x.detach().clone().requires_grad_(True)
        with torch.enable_grad(), held_still(self.network):
            logits = monai_prediction(self, leaf)
            found = []
            for cotangent in cotangents:
                dense = dense_of(cotangent).expand_as(logits)
                (slope,) = torch.autograd.grad(logits, leaf, dense, retain_graph=True)
                found.append(self._pulled(slope, logits, dense))
        return found

    def contributions_together(
        self, x: Tensor, cotangents: Sequence[Any], actives: Sequence[Sequence[int]]
    ) -> list[Tensor]:
        logits = self.logits(x)
        found = []
        for cotangent, active in zip(cotangents, actives, strict=True):
            value = torch.zeros((len(x), len(active)), dtype=torch.float64)
            value[:, 0] = (dense_of(cotangent) * logits).double().flatten(1).sum(dim=1)
            found.append(value)
        return found

    def _pulled(self, slope: Tensor, logits: Tensor, dense: Tensor) -> Pullback:
        value = (logits.detach() * dense).double().flatten(1).sum(dim=1)
        return Pullback(slope, value, 1, 1, 1)


def dense_of(cotangent: Any) -> Tensor:
    return cotangent if isinstance(cotangent, Tensor) else cotangent.dense()[None]


def predict_edits_whole(patch: pytest.MonkeyPatch) -> None:
    """Let every edited image be predicted whole, where the target was put together from windows."""

    def value(self: EditedTarget, data: Tensor) -> float:
        predictor = self.objective.predictor
        with torch.no_grad(), held_still(predictor.network):
            return float(self.objective.target.value(monai_prediction(predictor, data))[0])

    def edited(self: EditedTarget, edits: Edits) -> Iterator[Tensor]:
        data = self.objective.x
        box = tuple(slice(0, length) for length in data.shape[2:])
        for edit in range(len(edits)):
            copy = data.clone()
            edits.apply(edit, copy[0], box)
            yield copy

    def changes(self: EditedTarget, edits: Edits) -> Tensor:
        start = value(self, self.objective.x)
        found = [value(self, data) - start for data in edited(self, edits)]
        return torch.tensor(found, dtype=torch.float64)

    patch.setattr(EditedTarget, "start", lambda self: value(self, self.objective.x))
    patch.setattr(EditedTarget, "changes", changes)
