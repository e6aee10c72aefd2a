"""Who influences whom: nodes are switched off, and what they change by themselves is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.dissection import Bins, Exchange, StandIns, Surrogates, TrailEdge, TrailNode
from esegeta.dissection.places import Covered, Places
from esegeta.dissection.thresholds import Thresholds
from esegeta.dissection.trails import NodeScale, adjust_edges, direct_effect
from esegeta.model import held_still, switched_off
from esegeta.predict import OUTPUT, Pieces, read_windows
from esegeta.volume import Case
from esegeta.workflow.dissect.session import DissectionSession

Outputs = dict[str, Tensor]
"""What layers and the network put out for the same windows."""

Reader = Callable[[Pieces, Outputs], Outputs]
"""Runs windows, with some layers held at outputs of another run."""

Taken = dict[str, Tensor]
"""Numbers by name, places along the last axis."""

Taker = Callable[[Pieces, Sequence[Places], Reader], Taken]
"""Takes numbers of a batch of windows."""


@dataclass(frozen=True, eq=False)
class NodeViews:
    """Nodes, and how they are seen at the sampled places.

    Args:
        nodes: nodes layer by layer, in the order they run.
        scales: scale of each node.
        activations: activation of each node at the places.
        bins: bins of the activations of each source.
    """

    nodes: list[TrailNode]
    scales: dict[TrailNode, NodeScale]
    activations: dict[TrailNode, Tensor]
    bins: dict[TrailNode, Bins]

    @classmethod
    def of(cls, nodes: list[TrailNode], samples: dict[str, Float[Tensor, "U N"]]) -> NodeViews:
        """See nodes as samples of all units have them."""
        scales = {node: NodeScale.of(samples[node.layer][list(node.units)]) for node in nodes}
        activations = {
            node: scale.activation(samples[node.layer][list(node.units)])
            for node, scale in scales.items()
        }
        bins = {node: Bins.of(activations[node]) for node in nodes if not node.is_label}
        return cls(nodes, scales, activations, bins)

    @property
    def sources(self) -> list[TrailNode]:
        """Nodes that may influence others; none where every unit is dead."""
        return list(self.bins)

    @property
    def pairs(self) -> list[tuple[TrailNode, TrailNode]]:
        """Every pair of an earlier and a later node."""
        return [(p, q) for p in self.sources for q in self.nodes if p.order < q.order]

    def edges(self, taken: Taken) -> list[TrailEdge]:
        """Return every pair as an edge, whatever its weight, from what is taken of all cases."""
        known = dict(zip(self.sources, taken["drawn"], strict=True))
        edges = [
            direct_effect(
                pair, self.activations[pair[0]], change, self.bins[pair[0]], known[pair[0]]
            )
            for pair, change in zip(self.pairs, taken["changes"], strict=True)
        ]
        return adjust_edges(edges)


class Influences:
    """The passes over sampled windows that trails take.

    Args:
        session: session of the dissection; its cases are read again.
        places: places (windows and voxels), by case.
        layers: names of the layers, in the order they run.
    """

    def __init__(
        self, session: DissectionSession, places: dict[str, list[Places]], layers: Sequence[str]
    ) -> None:
        self._session = session
        self.places = places
        self.layers = list(layers)

    def sample(self, case: Case) -> Taken:
        """Return the activations of all units of each layer, and the logits, at a case's places."""

        def take(pieces: Pieces, own: Sequence[Places], read: Reader) -> Taken:
            found = read(pieces, {})
            return {name: self._seen(output, name, own) for name, output in found.items()}

        return joined([take(*batch) for batch in self._batches(case)])

    def influence(self, case: Case, views: NodeViews, unit_thresholds: Thresholds) -> Taken:
        """Return what each source changes of each later node, and draws of chance of each source.

        An edge is the direct effect: while the source is switched off, each layer behind it is
        read and then goes on with its output of the whole network. So the target sees the source
        alone, and not what other nodes make of it; those are edges of their own. One pass shows
        the effects on all later layers.

        Args:
            case: case whose sampled windows are run.
            views: nodes, and how they are seen.
            unit_thresholds: thresholds, whose means units are held at if the config says so.

        Returns:
            `drawn`, sources x draws x places, and `changes`, pairs x places.
        """
        pairs = views.pairs

        def take(pieces: Pieces, own: Sequence[Places], read: Reader) -> Taken:
            drawn, changes = [], []
            whole = read(pieces, {})
            draw = self._chance(own)
            for node in views.sources:
                drawn.append(draw(views, node, whole[node.layer]).to(torch.int8))
                changed = self._changed(pieces, read, whole, node, unit_thresholds)
                for target in (target for source, target in pairs if source is node):
                    chosen = list(target.units)
                    loss = whole[target.layer][:, chosen] - changed[target.layer][:, chosen]
                    seen = self._seen(loss, target.layer, own)
                    changes.append(views.scales[target].change(seen))
            return {"drawn": torch.stack(drawn), "changes": torch.stack(changes)}

        return joined([take(*batch) for batch in self._batches(case)])

    def _chance(self, own: Sequence[Places]) -> Callable[[NodeViews, TrailNode, Tensor], Tensor]:
        """Return what draws a node's codes `D P` of windows as they could as well have been."""
        dissection = self._session.dissection
        if dissection.keys.chance.kind not in (Surrogates.name, Exchange.name):
            return partial(self._moved, own)
        keys = dissection.keys.trails
        assert keys is not None
        return partial(self._stood_in, [StandIns(item, keys.permutations) for item in own])

    def _moved(
        self, own: Sequence[Places], views: NodeViews, node: TrailNode, outputs: Tensor
    ) -> Tensor:
        """Return the codes at shifted places; -1 at those that leave the body."""
        shifted = self._shifted(outputs[:, list(node.units)], node.layer, own)
        codes = views.bins[node].codes(views.scales[node].activation(shifted))
        stay = torch.cat([item.stay() for item in own], dim=-1)
        return codes.masked_fill(~stay, -1)

    def _stood_in(
        self, chances: Sequence[StandIns], views: NodeViews, node: TrailNode, outputs: Tensor
    ) -> Tensor:
        """Return the codes by random fields that are as smooth as the node in each window."""
        covered, found = self._covered(node.layer), []
        for chance, values in zip(chances, outputs[:, list(node.units)], strict=True):
            activation = views.scales[node].activation(values.cpu())
            codes = views.bins[node].codes(activation)
            found.append(chance.codes(codes, activation, covered))
        return torch.cat(found, dim=-1)

    def _batches(self, case: Case) -> Iterator[tuple[Pieces, list[Places], Reader]]:
        """Yield a case's sampled windows, a batch at a time, their places and what reads them."""
        predictor = self._session.dissection.watched
        own = {item.window: item for item in self.places[case.name]}
        x = self._session.reading(case).image()
        windows = predictor.windows(x)

        def read(pieces: Pieces, held: Outputs) -> Outputs:
            return read_windows(predictor, pieces.crops, windows, self.layers, held=held)

        with torch.no_grad(), held_still(predictor.network):
            for pieces in predictor.pieces(x, windows, list(own)):
                yield pieces, [own[window] for window in pieces.windows], read

    def _changed(
        self,
        pieces: Pieces,
        read: Reader,
        whole: Outputs,
        node: TrailNode,
        unit_thresholds: Thresholds,
    ) -> Outputs:
        """Return what windows put out with a node off, later layers going on as they were."""
        behind = self.layers[self.layers.index(node.layer) + 1 :]
        with self._off(node, unit_thresholds):
            return read(pieces, {layer: whole[layer] for layer in behind})

    @contextmanager
    def _off(self, node: TrailNode, unit_thresholds: Thresholds) -> Iterator[None]:
        dissection = self._session.dissection
        keys = dissection.keys.trails
        assert keys is not None
        values = None
        if keys.to == "mean":
            values = unit_thresholds.mean[dissection.units_of(node.layer)][list(node.units)].float()
        with switched_off(dissection.basis.predictor.network, node.layer, node.units, values):
            yield

    def _seen(
        self, outputs: Float[Tensor, "N K *layer"], layer: str, own: Sequence[Places]
    ) -> Tensor:
        """Return a layer's outputs `K P` of windows at their places, one after the other."""
        covered, patch = self._covered(layer), tuple(outputs.shape[2:])
        return self._gathered(outputs, [item.positions(covered, patch) for item in own])

    def _shifted(
        self, outputs: Float[Tensor, "N K *layer"], layer: str, own: Sequence[Places]
    ) -> Tensor:
        """Return the same `K D P` at the places that each draw of chance shifts them to."""
        covered, patch = self._covered(layer), tuple(outputs.shape[2:])
        return self._gathered(outputs, [item.shifted_positions(covered, patch) for item in own])

    def _gathered(self, outputs: Tensor, positions: Sequence[Tensor]) -> Tensor:
        # Samples are few and maps are many: what is kept leaves the device here, and nothing else.
        found = [
            values.flatten(1)[:, where.to(values.device)].cpu()
            for values, where in zip(outputs, positions, strict=True)
        ]
        return torch.cat(found, dim=-1)

    def _covered(self, layer: str) -> Covered:
        """Return which voxels of a window a layer, or the logits, cover."""
        plan = self._session.dissection.watched.plan
        layers = {} if plan.coverage is None else {**plan.coverage.layers, OUTPUT: plan.output}
        return Covered(plan.size, layers.get(layer, plan.size))


def joined(parts: Sequence[Taken]) -> Taken:
    """Return what was taken of batches or cases, one after the other."""
    return {name: torch.cat([part[name] for part in parts], dim=-1) for name in parts[0]}
