"""Figures of surrogates: the tree, or the weights that a sparse linear model has left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from esegeta.examples import Surrogate
from esegeta.report.style import (
    BLUE,
    FINE_DPI,
    MUTED,
    VERMILION,
    new_figure,
    save_figure,
    style_panel,
    wrap,
)
from esegeta.volume import atomic_path

CENTRED: dict[str, Any] = {"ha": "center", "va": "center"}
LEAF_INCHES, LEVEL_INCHES = 1.5, 1.25


def draw_surrogate(path: Path, title: str, surrogate: Surrogate) -> None:
    """Write the figure of a surrogate as PNG."""
    draw = _tree_figure if surrogate.kind == "tree" else _weights_figure
    with atomic_path(path) as temporary:
        save_figure(temporary, draw(title, surrogate), dpi=FINE_DPI)


def _tree_figure(title: str, surrogate: Surrogate) -> Figure:
    """Return a figure of a tree: yes to the left; leaves say what is predicted, and of how many."""
    tree = surrogate.model.tree_
    places: dict[int, tuple[float, int]] = {}
    num_leaves = _place(tree, 0, 0, 0, places)
    levels = 1 + max(depth for _, depth in places.values())
    size = (max(num_leaves * LEAF_INCHES, 5.0), levels * LEVEL_INCHES + 0.6)
    figure = new_figure(size)
    axis = figure.subplots()
    axis.set_axis_off()
    white = {"fc": "white", "ec": "none", "pad": 1}
    for node, (x, depth) in places.items():
        left, right = int(tree.children_left[node]), int(tree.children_right[node])
        if left >= 0:
            for child, word in ((left, "yes"), (right, "no")):
                to_x, to_depth = places[child]
                axis.plot([x, to_x], [-depth, -to_depth], color=MUTED, linewidth=1, zorder=0)
                middle = ((x + to_x) / 2, -(depth + to_depth) / 2)
                axis.text(*middle, word, fontsize=7, color=MUTED, bbox=white, **CENTRED)
        text, colour = _node_text(surrogate, tree, node, is_leaf=left < 0)
        box = {"boxstyle": "round,pad=0.35", "fc": colour, "ec": MUTED, "lw": 0.8}
        axis.text(x, -depth, text, fontsize=7.5, bbox=box, **CENTRED)
    axis.set_xlim(-0.6, num_leaves - 0.4)
    axis.set_ylim(-levels + 0.5, 0.45)
    figure.suptitle(wrap(title, size[0], 9), fontsize=9)
    return figure


def _place(
    tree: Any, node: int, depth: int, first: int, places: dict[int, tuple[float, int]]
) -> int:
    """Put a node above the middle of its children, and return how many leaves were placed."""
    left = int(tree.children_left[node])
    if left < 0:
        places[node] = (float(first), depth)
        return first + 1
    right = int(tree.children_right[node])
    middle = _place(tree, left, depth + 1, first, places)
    last = _place(tree, right, depth + 1, middle, places)
    places[node] = ((places[left][0] + places[right][0]) / 2, depth)
    return last


def _node_text(surrogate: Surrogate, tree: Any, node: int, *, is_leaf: bool) -> tuple[str, str]:
    count = int(tree.n_node_samples[node])
    if not is_leaf:
        name = surrogate.features[int(tree.feature[node])]
        return f"{name}\n≤ {tree.threshold[node]:.4g} ?\n{count} regions", "white"
    value = np.ravel(tree.value[node])
    if len(value) == 1:
        return f"Dice {value[0]:.2f}\n{count} regions", "#eef3f8"
    share = float(value[1] / value.sum())
    word = "present" if share > 0.5 else "absent"
    return f"{word}\nweighted share {share:.2f}\n{count} regions", (
        "#f9ddc9" if share > 0.5 else "#dbe9f4"
    )


def _weights_figure(title: str, surrogate: Surrogate) -> Figure:
    pairs = [
        pair for pair in zip(surrogate.features, surrogate.weights, strict=True) if pair[1] != 0
    ]
    pairs.sort(key=lambda pair: abs(pair[1]))
    figure = new_figure((6.0, 0.3 * max(len(pairs), 2) + 1.4))
    axis = figure.subplots()
    values = [value for _, value in pairs]
    axis.barh(range(len(pairs)), values, color=[BLUE if v < 0 else VERMILION for v in values])
    axis.set_yticks(range(len(pairs)), [name for name, _ in pairs], fontsize=8)
    axis.axvline(0, color=MUTED, linewidth=0.8)
    axis.set_xlabel("weight of one standard deviation", fontsize=8)
    style_panel(axis, "x")
    figure.suptitle(wrap(title, 6.0, 9), fontsize=9)
    return figure
