"""Patterns: where the signal of each linear operation lies, learned from images.

A weight w reads an output y = w.x; the pattern a says how x changes with y. The moments are over
positions whose output is positive, as an activation behind the operation lets them pass, so that

    a = cov+(x, y) / w . cov+(x, y),   cov+(x, y) = E+[x y] - E+[x] E+[y]

and w.a = 1. Operations that give the logits, and residual sums, take all positions. An operation
within the network that meets no activation, such as a transposed convolution before a
concatenation, should too, but does not: the pattern knows nothing of its negative outputs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from esegeta.errors import DataError, ModelError
from esegeta.explain.backprop.operations import LinearCall
from esegeta.explain.backprop.propagation import Propagation
from esegeta.explain.backprop.relevance import LayerCarrier
from esegeta.explain.backprop.rule_set import Rules, SumCall
from esegeta.model import held_still, network_sha256
from esegeta.plain_json import parse_json
from esegeta.predict import PassesApart, Predictor
from esegeta.volume import Volume, atomic_path

ORIGIN = "patterns"
"""The only entry of a file's header: of several, the file's bytes would vary in order."""

MEMBER = "member_"

ROUNDING = 1e-6
"""Variances below this part of the mean square are rounding in float32."""


@dataclass(frozen=True, eq=False)
class Patterns:
    """The patterns of a network, or of each network of an ensemble.

    Args:
        values: pattern of each operation, by `linear.0` or `sum.0` in the order of the forward
            pass; in the shape of its weight, or `2 C` for the two terms of a sum. Those of networks
            behind the first begin with `member_1.` and so on.
        network_sha256: SHA-256 of the networks' parameters and buffers.
        fitted_on: names of the volumes.
    """

    values: dict[str, Tensor]
    network_sha256: str
    fitted_on: tuple[str, ...]

    __pydantic_config__: ClassVar[dict[str, Any]] = {"arbitrary_types_allowed": True}

    def save(self, path: str | Path) -> Path:
        """Write a safetensors file.

        Raises:
            OutputError: it cannot be written.
        """
        from safetensors.torch import save_file

        file = Path(path)
        plain = {key: value.detach().cpu().contiguous() for key, value in self.values.items()}
        origin = json.dumps({"network": self.network_sha256, "fitted_on": self.fitted_on})
        with atomic_path(file) as temporary:
            save_file(plain, temporary, {ORIGIN: origin})
        return file

    @classmethod
    def load(cls, path: str | Path) -> Patterns:
        """Read a file that `save` wrote.

        Raises:
            DataError: the file is missing, or holds no patterns.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "pt") as file:
                origin = _origin(file.metadata() or {})
                values = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (OSError, ValueError, SafetensorError) as error:
            raise DataError(
                f"patterns: {path}: cannot be read ({error})",
                hint="leave `patterns` out to fit them, or name a file that a run wrote",
            ) from error
        if origin is None:
            raise DataError(f"patterns: {path}: holds no patterns", hint="a run writes such files")
        return cls(values, *origin)

    def of_member(self, number: int) -> Patterns:
        """Return the patterns of one network of an ensemble, counted from 0."""
        start = _prefix(number)
        own = {
            key.removeprefix(start): value
            for key, value in self.values.items()
            if key.startswith(start) and not (number == 0 and key.startswith(MEMBER))
        }
        return replace(self, values=own)

    def require_fit(self, predictor: Predictor) -> None:
        """Refuse patterns of another network.

        Raises:
            ModelError: they were fitted on other weights.
        """
        if self.network_sha256 != _weights_sha256(predictor):
            raise ModelError(
                "the patterns were fitted on a network with different weights",
                hint="leave `patterns` out to fit them again",
            )


def fit_patterns(predictor: Predictor, volumes: Iterable[Volume]) -> Patterns:
    """Learn the patterns of each network from all windows of some volumes, each seen once a pass.

    Args:
        predictor: the networks over windows.
        volumes: volumes, which are read one at a time; nothing of their size is kept.

    Raises:
        DataError: there is no volume.
    """
    if predictor.averages_inside:
        predictor = PassesApart(predictor).single
    learned: dict[int, Learning] = {}
    names = []
    for volume in volumes:
        names.append(volume.name)
        x = volume.batch
        windows = predictor.windows(x)
        with held_still(predictor.network):
            for pieces in predictor.pieces(x, windows, range(len(windows))):
                rules = learned.setdefault(pieces.member, Learning())
                propagation = Propagation(rules, torch.mul, LayerCarrier)
                run = partial(predictor.run, windows=windows)
                crops, logits = propagation.run_with(run, pieces)
                torch.autograd.grad(logits, crops, torch.zeros_like(logits))
    if not names:
        raise DataError("patterns: there is no volume to fit them on", hint="give at least one")
    values = {
        f"{_prefix(member)}{key}": value
        for member, rules in learned.items()
        for key, value in rules.patterns().items()
    }
    return Patterns(values, _weights_sha256(predictor), tuple(names))


def _origin(header: Mapping[str, str]) -> tuple[str, tuple[str, ...]] | None:
    """Return network and volumes of patterns, by a file's header; None where it is of no patterns.

    Files were written with an entry for each of the two once, and are read still.
    """
    if ORIGIN not in header:
        network, names = header.get("network"), header.get("fitted_on", "").split("\n")
    else:
        told = parse_json(header[ORIGIN])
        if not isinstance(told, dict):
            return None
        network, names = told.get("network"), told.get("fitted_on", ())
    return None if network is None else (str(network), tuple(map(str, names)))


def _prefix(member: int) -> str:
    return f"{MEMBER}{member}." if member > 0 else ""


def _weights_sha256(predictor: Predictor) -> str:
    """Return the SHA-256 of a network's weights, or that of those of all networks."""
    if not predictor.states:
        return network_sha256(predictor.network)
    digest = hashlib.sha256()
    with held_still(predictor.network):
        for member in range(len(predictor.states)):
            predictor.hold(member)
            digest.update(network_sha256(predictor.network).encode())
    return digest.hexdigest()


@dataclass
class PatternMoments:
    """Sums over positions, in float64: of the inputs x, the outputs y, and x y.

    Args:
        call: the operation that they belong to; its weight and strides count.
        sums: count, x, y and x y for each weight.
    """

    call: LinearCall
    sums: list[Tensor] = field(default_factory=list)

    def add(self, call: LinearCall, x: Tensor) -> None:
        """Add the positions of a few windows."""
        y = call.outputs(x, call.weight)
        z = y if call.bias is None else y + call.bias
        chosen = torch.ones_like(y) if call.place.is_last else (z > 0).to(y)
        ones = torch.ones_like(x)
        pairs = ((ones, chosen), (x, chosen), (ones, chosen * y), (x, chosen * y))
        found = [_over_positions(call, inputs, outputs).double() for inputs, outputs in pairs]
        pairs_ = zip(self.sums, found, strict=True)
        self.sums = [old + new for old, new in pairs_] if self.sums else found

    def pattern(self) -> Tensor:
        """Return a, in the shape of the weight; zero where an output was never positive."""
        count, x, y, xy = self.sums
        count = count.clamp(min=1)
        covariance = xy / count - (x / count) * (y / count)
        read = summed_per_output(self.call, self.call.weight.double() * covariance)
        size = summed_per_output(self.call, (self.call.weight * xy / count).abs())
        silent = read.abs() <= ROUNDING * size  # what does not vary has no pattern
        return torch.where(silent, 0.0, covariance / read.masked_fill(silent, 1.0)).float()


class Learning(Rules):
    """Listens to a backward pass; hands on nothing."""

    def __init__(self) -> None:
        self.moments: dict[int, PatternMoments] = {}
        self.terms: dict[int, list[Tensor]] = {}

    def linear(self, call: LinearCall, x: Tensor, relevance: Tensor) -> Tensor:
        """Add the moments of an operation."""
        if call.kind != "scaling":
            self.moments.setdefault(call.place.index, PatternMoments(call)).add(call, x)
        return torch.zeros_like(x)

    def total(self, call: SumCall, relevance: Tensor) -> Sequence[Tensor | None]:
        """Add the moments of a sum's terms, channel by channel."""
        if all(call.tracked):
            whole = call.terms[0] + call.terms[1]
            left, right = (term.expand_as(whole).transpose(0, 1).flatten(1) for term in call.terms)
            pairs_ = ((left, left), (left, right), (right, right))
            found = [
                torch.full_like(left[:, 0], left.shape[1], dtype=torch.float64),
                *(term.sum(dim=1, dtype=torch.float64) for term in (left, right)),
                *((one * other).sum(dim=1, dtype=torch.float64) for one, other in pairs_),
            ]
            known = self.terms.get(call.place.index)
            pairs = zip(known or found, found, strict=True)
            self.terms[call.place.index] = [old + new for old, new in pairs] if known else found
        return [torch.zeros_like(term) for term in call.terms]

    def mapped(self, function: Callable[[Tensor], Tensor], x: Tensor, relevance: Tensor) -> Tensor:
        """Hand on nothing."""
        return torch.zeros_like(x)

    def patterns(self) -> dict[str, Tensor]:
        """Return the patterns by the names of `Patterns`."""
        linear = {f"linear.{key}": value.pattern() for key, value in self.moments.items()}
        return linear | {f"sum.{key}": _shares(sums) for key, sums in self.terms.items()}


def summed_per_output(call: LinearCall, values: Tensor) -> Tensor:
    """Return values of a weight's shape summed over all that meet in one output, in that shape.

    In a strided transposed convolution these are the taps of one phase.
    """
    if call.kind != "transposed":
        axes = tuple(range(1, values.ndim))
        return values.sum(dim=axes, keepdim=True).expand_as(values)
    inputs, outputs, *kernel = values.shape
    grouped = values.reshape(call.groups, inputs // call.groups, outputs, -1).sum(dim=1)
    phase = torch.zeros(kernel, dtype=torch.long, device=values.device)
    steps = zip(kernel, call.stride, call.dilation, strict=True)
    for axis, (length, stride, dilation) in enumerate(steps):
        place = torch.arange(length, device=values.device) * dilation % stride
        shape = [1] * len(kernel)
        shape[axis] = -1
        phase = phase * stride + place.reshape(shape)
    flat = phase.flatten().expand_as(grouped)
    num_phases = int(phase.max()) + 1
    summed = grouped.new_zeros((*grouped.shape[:2], num_phases)).scatter_add(2, flat, grouped)
    taps = summed.gather(2, flat)[:, None].expand(-1, inputs // call.groups, -1, -1)
    return taps.reshape(values.shape)


def _over_positions(call: LinearCall, x: Tensor, outputs: Tensor) -> Tensor:
    """Return for each weight the sum of its input times its output over all positions."""
    with torch.enable_grad():
        weight = torch.zeros_like(call.weight).requires_grad_(True)
        reached = call.outputs(x, weight)
    (sums,) = torch.autograd.grad(reached, weight, outputs)
    return sums


def _shares(sums: Sequence[Tensor]) -> Tensor:
    """Return cov(term, sum) / var(sum) of both terms, `2 C`; half each where nothing varies."""
    count, left, right, left_left, left_right, right_right = sums
    mixed = left_right / count - left * right / count**2
    spreads = [left_left / count - (left / count) ** 2, right_right / count - (right / count) ** 2]
    whole = spreads[0] + 2 * mixed + spreads[1]
    silent = whole <= ROUNDING * (left_left + right_right) / count
    share = torch.where(silent, 0.5, (spreads[0] + mixed) / whole.masked_fill(silent, 1.0))
    return torch.stack([share, 1 - share]).float()
