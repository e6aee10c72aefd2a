"""The graph of influences as GraphML, for Gephi, Cytoscape, yEd or networkx."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from esegeta.dissection import TrailEdge, TrailNode
from esegeta.volume import write_text

NAMESPACE = "http://graphml.graphdrawing.org/xmlns"

Value = str | int | float | bool

TYPES: dict[type, str] = {str: "string", int: "int", float: "double", bool: "boolean"}


def write_graphml(path: Path, nodes: Sequence[TrailNode], edges: Sequence[TrailEdge]) -> None:
    """Write a directed graph; every number of its edges is an attribute of them."""
    root = ElementTree.Element("graphml", {"xmlns": NAMESPACE})
    graph = ElementTree.Element("graph", {"id": "trails", "edgedefault": "directed"})
    declared: dict[tuple[str, str], Value] = {}
    for node in nodes:
        element = ElementTree.SubElement(graph, "node", {"id": node.name})
        _describe(element, "node", _facts_of_node(node), declared)
    for edge in edges:
        ends = {"source": edge.source.name, "target": edge.target.name}
        element = ElementTree.SubElement(graph, "edge", ends)
        _describe(element, "edge", _facts_of_edge(edge), declared)
    for (kind, name), value in declared.items():
        attributes = {
            "id": f"{kind}_{name}",
            "for": kind,
            "attr.name": name,
            "attr.type": TYPES[type(value)],
        }
        ElementTree.SubElement(root, "key", attributes)
    root.append(graph)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    write_text(path, f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n')


def _facts_of_node(node: TrailNode) -> dict[str, Value]:
    return {
        "label": node.word,
        "layer": node.layer,
        "order": node.order,
        "units": " ".join(str(unit) for unit in node.units),
        "is_label": node.is_label,
    }


def _facts_of_edge(edge: TrailEdge) -> dict[str, Value]:
    return {name: value for name, value in vars(edge).items() if name not in ("source", "target")}


def _describe(
    element: ElementTree.Element,
    kind: str,
    facts: Mapping[str, Value],
    declared: dict[tuple[str, str], Value],
) -> None:
    for name, value in facts.items():
        declared.setdefault((kind, name), value)
        data = ElementTree.SubElement(element, "data", {"key": f"{kind}_{name}"})
        data.text = str(value).lower() if isinstance(value, bool) else str(value)
