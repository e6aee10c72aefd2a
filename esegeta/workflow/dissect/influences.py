"""Who influences whom: nodes are switched off, and what they change by themselves is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.axes import Shape
from esegeta.dissection import Bins, TrailEdge, TrailNode
from esegeta.dissection.places import Places
from esegeta.dissection.thresholds import Thresholds
from esegeta.dissection.trails import NodeScale, adjust_edges, direct_effect
from esegeta.model import held_still, switched_off
from esegeta.predict import Pieces, read_windows
from esegeta.volume import Case
from esegeta.workflow import TaskResult
from esegeta.workflow.dissect.kept import keep, kept
from esegeta.workflow.dissect.session import STAGE, Session
from esegeta.workflow.fingerprint import digest

Outputs = dict[str, Tensor]
"""What layers and the network put out for the same windows."""

Reader = Callable[[Pieces, Outputs], Outputs]
"""Runs windows, with some layers held at outputs of another run."""

Taken = dict[str, Tensor]
"""Numbers by name, places along the last axis."""

Taker = Callable[[Pieces, Sequence[Places], Reader], Taken]
"""Takes numbers of a batch of windows."""


class Influences:
    """The passes over sampled windows that trails take.

    Args:
        session: of the dissection; its cases are read again.
        places: windows and voxels, by case.
        layers: names, as they run.
    """

    def __init__(
        self, session: Session, places: dict[str, list[Places]], layers: Sequence[str]
    ) -> None:
        self._session = session
        self._places = places
        self._layers = list(layers)

    def sample(self) -> dict[str, Float[Tensor, "U N"]]:
        """Return the activations of all units of each layer, and the logits, at the places."""

        def take(pieces: Pieces, own: Sequence[Places], read: Reader) -> Taken:
            return {name: self._seen(output, own) for name, output in read(pieces, {}).items()}

        return self._taken("samples", 1, self._layers, take)

    def edges(
        self,
        nodes: Sequence[TrailNode],
        samples: dict[str, Float[Tensor, "U N"]],
        unit_thresholds: Thresholds,
    ) -> list[TrailEdge]:
        """Return every pair of an earlier and a later node, as an edge, whatever its weight.

        An edge is the direct effect: while the source is switched off, each layer behind it is
        read and then goes on with its output of the whole network. So the target sees the source
        alone, and not what other nodes make of it; those are edges of their own. One pass shows
        the effects on all later layers.

        Args:
            nodes: layer by layer, as they run.
            samples: activations at the places.
            unit_thresholds: their means are what units are held at, where the config says so.
        """
        scales = {node: NodeScale.of(samples[node.layer][list(node.units)]) for node in nodes}
        activations = {
            node: scale.activation(samples[node.layer][list(node.units)])
            for node, scale in scales.items()
        }
        sources = [node for node in nodes if not node.is_label]
        pairs = [(p, q) for p in sources for q in nodes if p.order < q.order]
        if not sources:  # every unit is dead
            return []
        bins = {node: Bins.of(activations[node]) for node in sources}

        def take(pieces: Pieces, own: Sequence[Places], read: Reader) -> Taken:
            drawn, changes = [], []
            whole = read(pieces, {})
            for node in sources:
                shifted = self._shifted(whole[node.layer][:, list(node.units)], own)
                codes = bins[node].codes(scales[node].activation(shifted))
                drawn.append(codes.to(torch.int8))
                changed = self._changed(pieces, read, whole, node, unit_thresholds)
                for target in (target for source, target in pairs if source is node):
                    units = list(target.units)
                    loss = whole[target.layer][:, units] - changed[target.layer][:, units]
                    changes.append(scales[target].change(self._seen(loss, own)))
            return {"drawn": torch.stack(drawn), "changes": torch.stack(changes)}

        key = [node.name for node in nodes]
        taken = self._taken("influences", 1 + len(sources), key, take)
        known = dict(zip(sources, taken["drawn"], strict=True))
        edges = [
            direct_effect(pair, activations[pair[0]], change, bins[pair[0]], known[pair[0]])
            for pair, change in zip(pairs, taken["changes"], strict=True)
        ]
        return adjust_edges(edges)

    def _taken(self, what: str, runs: int, key: object, take: Taker) -> Taken:
        """Return what is taken of all sampled windows, case by case; cases are kept."""
        session, found = self._session, {}
        for case in (case for case in session.cases if case.name in self._places):
            path = session.folder / "trails" / what / f"{case.name}.safetensors"
            fingerprint = digest({"all": session.fingerprint, "key": key})
            own = kept(path, fingerprint)
            if own is None:
                with session.stage(case, f"trails, {what}", runs * len(self._places[case.name])):
                    own = _joined([take(*batch) for batch in self._batches(case)])
                    keep(path, own, fingerprint)
            else:
                session.listener.end(TaskResult(case.name, STAGE, f"trails, {what}", "skipped"))
            found[case.name] = own
        return _joined(list(found.values()))

    def _batches(self, case: Case) -> Iterator[tuple[Pieces, list[Places], Reader]]:
        """Yield a case's sampled windows, a batch at a time, their places and what reads them."""
        predictor = self._session.dissection.basis.predictor
        own = {item.window: item for item in self._places[case.name]}
        x = self._session.reading(case).image()
        windows = predictor.windows(x)

        def read(pieces: Pieces, held: Outputs) -> Outputs:
            return read_windows(predictor, pieces.crops, windows, self._layers, held=held)

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
        behind = self._layers[self._layers.index(node.layer) + 1 :]
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

    def _seen(self, outputs: Float[Tensor, "N K *layer"], own: Sequence[Places]) -> Tensor:
        """Return the outputs `K P` of windows at their places, one after the other."""
        size, patch = self._size, tuple(outputs.shape[2:])
        return self._gathered(outputs, [item.positions(size, patch) for item in own])

    def _shifted(self, outputs: Float[Tensor, "N K *layer"], own: Sequence[Places]) -> Tensor:
        """Return the same `K D P` at the places that each draw of chance shifts them to."""
        size, patch = self._size, tuple(outputs.shape[2:])
        return self._gathered(outputs, [item.shifted_positions(size, patch) for item in own])

    def _gathered(self, outputs: Tensor, positions: Sequence[Tensor]) -> Tensor:
        # Samples are few and maps are many: what is kept leaves the device here, and nothing else.
        found = [
            values.flatten(1)[:, where.to(values.device)].cpu()
            for values, where in zip(outputs, positions, strict=True)
        ]
        return torch.cat(found, dim=-1)

    @property
    def _size(self) -> Shape:
        return self._session.dissection.basis.predictor.plan.size


def _joined(parts: Sequence[Taken]) -> Taken:
    return {name: torch.cat([part[name] for part in parts], dim=-1) for name in parts[0]}
