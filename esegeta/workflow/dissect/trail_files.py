"""Trails of a dissection: nodes from clusters, edges from interventions, files for both."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from esegeta.dissection import Trail, TrailEdge, TrailNode, cluster_units, strongest_trails
from esegeta.dissection.parts import BYTES_OF_FLOAT, MB
from esegeta.dissection.places import Places, draw_places, num_places
from esegeta.dissection.trails import RESOLUTION
from esegeta.errors import ConfigError
from esegeta.model import held_still, list_layers
from esegeta.predict import OUTPUT
from esegeta.report import draw_trails, write_graphml
from esegeta.volume import atomic_path, write_json
from esegeta.workflow.cache import fingerprint, keep_tensors, kept_tensors
from esegeta.workflow.dissect.build import Dissection, enough_mb, show_mb
from esegeta.workflow.dissect.influences import Influences, NodeViews, Taken, joined
from esegeta.workflow.dissect.layers import check_switches, window_of_zeros
from esegeta.workflow.dissect.passes import thresholds_of
from esegeta.workflow.dissect.results import found_results
from esegeta.workflow.dissect.session import WHOLE, DissectionSession
from esegeta.workflow.dissect.tables import UnitResults
from esegeta.workflow.one_result import written
from esegeta.workflow.task import Content, Desk, Task

TRAILS_OF_LABEL = 5
"""How many trails to each label are listed, the strongest first."""


def take_samples(task: Task, desk: Desk) -> Content:
    """Take the activations of all units at the sampled places of a case, and keep them.

    Raises:
        EsegetaError: the case cannot be read.
    """
    case, influences = desk.job.cases[task.data["case"]], influences_of(desk)
    desk.begin(task.name, [task], len(influences.places[case.name]))
    _keep(task, influences.sample(case))
    return {}


def form_nodes(task: Task, desk: Desk) -> Content:
    """Form the nodes, whose influences come next."""
    views_of(desk)
    return {}


def take_influences(task: Task, desk: Desk) -> Content:
    """Switch each node off at the sampled places of a case, and keep what that changes.

    Raises:
        EsegetaError: the case cannot be read.
    """
    case, influences, views = desk.job.cases[task.data["case"]], influences_of(desk), views_of(desk)
    runs = 1 + len(views.sources)
    desk.begin(task.name, [task], runs * len(influences.places[case.name]))
    _keep(task, influences.influence(case, views, thresholds_of(desk)))
    return {}


def write_trails(task: Task, desk: Desk) -> Content:
    """Find who influences whom, and the trails to each label; write graph and picture."""
    session: DissectionSession = desk.job
    dissection, views = session.dissection, views_of(desk)
    keys, nodes, places = dissection.keys.trails, views.nodes, influences_of(desk).places
    assert keys is not None
    pairs = views.edges(_kept(desk, "influences")) if views.sources else []
    edges = [edge for edge in pairs if _holds(edge, keys.q_value)]
    trails = {
        node.concept: strongest_trails(nodes, edges, node)[:TRAILS_OF_LABEL]
        for node in nodes
        if node.is_label
    }
    notes = _notes(session, pairs, trails, num_places(places))
    folder = dissection.folder
    files = [folder / f"trails.{ending}" for ending in ("json", "graphml", "png")]
    title = (
        f"{dissection.basis.config.keys.name}: paths through the network, and the strongest of them"
    )
    with atomic_path(files[2]) as temporary:
        draw_trails(temporary, nodes, edges, trails, title)
    write_graphml(files[1], nodes, edges)
    content = _content(nodes, edges, trails)
    write_json(files[0], {**content, **_facts(session, places, pairs), "notes": notes})
    found = written(desk)
    found.files += files
    found.notes += notes
    found.entries["trails"] = {
        label: list(dict.fromkeys(trail.words for trail in own)) for label, own in trails.items()
    }
    return {}


def influences_of(desk: Desk) -> Influences:
    """Return the passes over sampled windows."""
    session: DissectionSession = desk.job

    def draw() -> Influences:
        dissection = session.dissection
        keys, plan = dissection.keys.trails, dissection.watched.plan
        assert keys is not None
        bodies = {
            case.name: session.body(number, session.reading(case)).reshape(
                dissection.shapes[case.name]
            )
            for number, case in enumerate(session.cases)
        }
        places = draw_places(
            {name: plan.lay(shape) for name, shape in dissection.shapes.items()},
            bodies=bodies,
            windows=keys.windows,
            samples=keys.samples,
            permutations=keys.permutations,
            seed=dissection.basis.config.keys.seed,
        )
        return Influences(session, places, layers_in_order(dissection))

    return desk.once("influences", draw, depth=WHOLE)


def views_of(desk: Desk) -> NodeViews:
    """Return the nodes and how they are seen, once samples are taken."""
    session: DissectionSession = desk.job

    def form() -> NodeViews:
        samples = _kept(desk, "samples")
        layers = influences_of(desk).layers
        nodes = nodes_of(session.dissection, found_results(desk), layers, samples)
        return NodeViews.of(nodes, samples)

    return desk.once("nodes", form, depth=WHOLE)


def sampled_cases(desk: Desk) -> list[int]:
    """Return the numbers of the cases that windows are sampled of."""
    session: DissectionSession = desk.job
    places = influences_of(desk).places
    return [number for number, case in enumerate(session.cases) if case.name in places]


def record_of(session: DissectionSession, what: str, number: int) -> Path:
    """Return where samples or influences of a case are kept."""
    return session.folder / "trails" / what / f"{session.cases[number].name}.safetensors"


def key_of(desk: Desk, what: str) -> str:
    """Return the fingerprint of what samples, or influences, of each case stand on."""
    parts = influences_of(desk).layers
    if what == "influences":
        parts = [node.name for node in views_of(desk).nodes]
    return fingerprint({"all": desk.job.fingerprint, "key": parts})


def _keep(task: Task, taken: Taken) -> None:
    assert task.record is not None and task.key is not None
    keep_tensors(task.record, task.key, taken)


def _kept(desk: Desk, what: str) -> Taken:
    """Return what was taken of all cases."""
    key = key_of(desk, what)
    return joined(
        [kept_tensors(record_of(desk.job, what, number), key) for number in sampled_cases(desk)]
    )


def layers_in_order(dissection: Dissection) -> list[str]:
    """Return the names of the layers in the order in which their forward ends."""
    network = dissection.basis.predictor.network
    window = window_of_zeros(dissection.basis)
    with held_still(network):
        order = {layer.name: layer.order for layer in list_layers(network, lambda: network(window))}
    return sorted((layer.name for layer in dissection.layers), key=lambda name: order[name])


def nodes_of(
    dissection: Dissection, results: UnitResults, layers: Sequence[str], samples: dict[str, Tensor]
) -> list[TrailNode]:
    """Return the nodes: clusters of the living units of layers, as they run, then the logits."""
    keys = dissection.keys.trails
    assert keys is not None
    nodes = []
    for order, layer in enumerate(layers):
        own = [finding for finding in results.findings if finding.layer == layer]
        living = [finding.unit for finding in own if not finding.dead]
        if not living:
            continue
        for cluster in cluster_units(samples[layer][living], keys.clusters):
            units = tuple(living[place] for place in cluster)
            nodes.append(TrailNode(layer, order, units, _concept_of(units, results, layer)))
    labels = dissection.basis.predictor.labels
    for name in labels.foreground:
        if keys.labels == "all" or name in keys.labels:
            units = labels.channels(name)
            nodes.append(TrailNode(OUTPUT, len(layers), units, name, is_label=True))
    return nodes


def check_trails(dissection: Dissection) -> None:
    """Refuse, before anything else, what trails could not be found with.

    Raises:
        LayerError: a layer returns more than one tensor, so that its units cannot be switched off.
        ConfigError: samples and draws of chance do not fit into the memory that is allowed.
    """
    keys = dissection.keys.trails
    if keys is None:
        return
    place = dissection.basis.config.document.place(("dissection", "trails"))
    check_switches(dissection.basis, [layer.name for layer in dissection.layers], "trails")
    num_nodes = sum(min(layer.num_units, keys.clusters) for layer in dissection.layers)
    num_targets = num_nodes + len(dissection.basis.predictor.labels.foreground)
    per_sample = BYTES_OF_FLOAT * (dissection.num_units + num_nodes * num_targets)
    per_sample += num_nodes * keys.permutations  # a draw's bin is one byte
    needed = keys.samples * per_sample / MB
    if needed > dissection.room():
        raise ConfigError(
            f"{place}: dissection.trails: {keys.samples} samples with {keys.permutations} "
            f"permutations of {num_nodes} nodes take {show_mb(needed)}, but "
            f"may take only {show_mb(dissection.room())}",
            hint=f"raise memory_mb to {enough_mb(needed)}, or lower trails.samples, "
            "trails.permutations or trails.clusters",
        )


def _concept_of(units: Sequence[int], results: UnitResults, layer: str) -> str:
    """Return what most of the named units are named for; of several, that of the best IoU."""
    named = [item for item in results.named if item.layer == layer and item.unit in units]
    counts = Counter(item.best.concept for item in named)
    best = max(named, key=lambda item: (counts[item.best.concept], item.best.iou), default=None)
    return best.best.concept if best else ""


def _holds(edge: TrailEdge, q_value: float) -> bool:
    return edge.influence > 0 and edge.weight > 0 and edge.q <= q_value


def _content(
    nodes: Sequence[TrailNode], edges: Sequence[TrailEdge], trails: dict[str, list[Trail]]
) -> dict[str, Any]:
    return {
        "trails": [
            {
                "label": label,
                "words": trail.words,
                "nodes": [node.name for node in trail.nodes],
                "strength": trail.strength,
                "width": trail.width,
            }
            for label, found in trails.items()
            for trail in found
        ],
        "nodes": [
            {
                "id": node.name,
                "layer": node.layer,
                "order": node.order,
                "units": list(node.units),
                "concept": node.concept or None,
                "kind": "label" if node.is_label else "units",
            }
            for node in nodes
        ],
        "edges": [
            {**vars(edge), "source": edge.source.name, "target": edge.target.name} for edge in edges
        ],
    }


def _facts(
    session: DissectionSession, places: dict[str, list[Places]], pairs: Sequence[TrailEdge]
) -> dict[str, Any]:
    keys = session.dissection.keys.trails
    assert keys is not None
    return {
        "pairs": len(pairs),
        "pairs_influenced": sum(pair.influence > 0 for pair in pairs),
        "samples": num_places(places),
        "windows": {name: [item.window for item in items] for name, items in places.items()},
        "permutations": keys.permutations,
        "held_at": keys.to,
        "q_value": keys.q_value,
        "smallest_change": RESOLUTION,
        "strength": "the product of a path's weights; its width is the smallest of them",
    }


def _notes(
    session: DissectionSession,
    pairs: Sequence[TrailEdge],
    trails: dict[str, list[Trail]],
    samples: int,
) -> list[str]:
    keys = session.dissection.keys.trails
    assert keys is not None
    notes = []
    if samples < keys.samples:
        notes.append(
            f"trails: {keys.samples} samples were asked for, but the windows hold only {samples}"
        )
    lost = [label for label, found in trails.items() if not found]
    if lost:
        notes.append(f"trails: no path leads to {', '.join(lost)}")
    smallest = 1 / (keys.permutations + 1)
    if smallest > keys.q_value:
        notes.append(f"trails: with {keys.permutations} permutations, p is at least {smallest:.3g}")
    elif any(pair.influence > 0 and pair.q > keys.q_value and pair.p <= smallest for pair in pairs):
        tests = sum(pair.influence > 0 for pair in pairs)
        notes.append(
            f"trails: with {keys.permutations} permutations, q reaches {keys.q_value:g} only if "
            f"{math.ceil(smallest / keys.q_value * tests)} of {tests} pairs with an influence are "
            "beyond every draw; raise permutations to find weaker edges"
        )
    return notes
