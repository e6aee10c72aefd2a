"""Keys that a folder of nnU-Net v2 stands for: its plans, where our config is silent.

`model: {kind: nnunet, path: ...}` is written out in the keys of any other model, before these are
checked, so that whatever follows knows one kind of config, and a run's record says it all.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from esegeta.config.keys import fault_of_part
from esegeta.config.lines import Document, Path_
from esegeta.config.nnunet_preprocess import preprocess_of
from esegeta.config.paths import find_beside
from esegeta.errors import ConfigError, EsegetaError, ModelError, ResultsKeyError
from esegeta.model.nnunet_architecture import nnunet_architecture
from esegeta.model.nnunet_results import FINAL, NnunetResults, read_nnunet_results

OWN = ("network", "args", "class", "weights", "weights_key")
"""Keys of `model` that other kinds are given, and that come from the folder here."""

WEIGHTS_KEY = "network_weights"
STEP = 0.5
"""nnU-Net's tile_step_size."""


def with_nnunet_keys(document: Document) -> Document:
    """Return a config with the keys that its nnU-Net folder stands for; others as they are.

    Raises:
        ConfigError: the folder cannot be used, or the config repeats keys of `model` that it gives.
    """
    content = document.content
    model = content.get("model")
    if not isinstance(model, dict) or model.get("kind") != "nnunet":
        return document
    path = model.get("path")
    if not isinstance(path, str) or not path:
        raise ConfigError(
            f"{document.place(('model',))}: model.path: missing; kind: nnunet needs the folder "
            "that training wrote, with dataset.json and plans.json"
        )
    choice = _choice(document, model)
    try:
        found = _find(document, path)
        results = read_nnunet_results(found, **choice)
        weights = [
            os.path.normpath(Path(path) / os.path.relpath(checkpoint, found))
            for checkpoint in results.checkpoints
        ]
        keys = nnunet_keys(results, weights, whole_labels="labels" not in content)
    except EsegetaError as error:
        place = document.place(_blamed(error, model))
        raise ConfigError(f"{place}: model: {error.message}", hint=error.hint) from error
    for key in OWN:
        if model.get(key) is not None and model[key] != keys["model"].get(key):
            raise ConfigError(
                f"{document.place(('model', key))}: model.{key}: kind: nnunet takes it from "
                f"{results.folder}",
                hint="leave it out; `folds` and `checkpoint` choose weights",
            )
    merged = _merge(keys, content)
    return Document(document.path, merged, document.lines, document.options)


def nnunet_keys(
    results: NnunetResults, weights: Sequence[str], *, whole_labels: bool = True
) -> dict[str, Any]:
    """Return the keys of a config that a trained nnU-Net stands for.

    Args:
        results: the folder that training left.
        weights: paths of its checkpoints, as a config writes them.
        whole_labels: whether everything about labels comes from the folder.

    Raises:
        ModelError: dataset.json and plans.json do not fit together, or ask for what is unsupported.
    """
    channels = _channels(results)
    labels = _labels(results)
    class_path, args = nnunet_architecture(
        results.configuration,
        num_inputs=len(channels),
        num_outputs=_num_outputs(results.dataset["labels"]),
    )
    preprocess = preprocess_of(results, num_channels=len(channels))
    window = list(results.configuration["patch_size"])
    data: dict[str, Any] = {"preprocess": preprocess}
    if _are_names(channels):
        data["channels"] = channels
    inference: dict[str, Any] = {
        "window": window,
        "overlap": STEP,
        "blend": "nnunet",
        "positions": "even",
    }
    if len(window) == 2:
        inference["slice_axis"] = 0
    if results.mirror:
        inference["mirror"] = list(results.mirror)
    return {
        "model": {
            "configuration": results.name,
            "network": class_path,
            "args": args,
            "weights": list(weights) if len(weights) > 1 else weights[0],
            "weights_key": WEIGHTS_KEY,
        },
        **(labels if whole_labels else {}),
        "data": data,
        "inference": inference,
        "prediction": "nnunet",
    }


def _choice(document: Document, model: Mapping[str, Any]) -> dict[str, Any]:
    """Return which configuration, folds and checkpoint the config chooses."""
    folds = "all" if model.get("folds") is None else model["folds"]
    listed = folds if isinstance(folds, list) else [folds]
    for fold in listed:
        number = isinstance(fold, int) and not isinstance(fold, bool) and fold >= 0
        if not number and fold != "all":
            raise ConfigError(
                f"{document.place(('model', 'folds'))}: model.folds: {fold!r} is not a fold",
                hint="write folds: [0, 1], one number, or all",
            )
    if not listed:
        raise ConfigError(f"{document.place(('model', 'folds'))}: model.folds: no fold is listed")
    for fold in listed:
        if listed.count(fold) > 1:
            raise ConfigError(
                f"{document.place(('model', 'folds'))}: model.folds: {fold} is listed twice"
            )
    for key in ("configuration", "checkpoint"):
        if key in model and not (model[key] is None or isinstance(model[key], str)):
            raise ConfigError(
                f"{document.place(('model', key))}: model.{key}: should be text "
                f"(found {model[key]!r})"
            )
    return {
        "folds": "all" if folds == "all" else listed,
        "configuration": model.get("configuration"),
        "checkpoint": model.get("checkpoint") or FINAL,
    }


def _blamed(error: EsegetaError, model: Mapping[str, Any]) -> Path_:
    """Return the key that an error is about where it is given; else the path."""
    key = error.key if isinstance(error, ResultsKeyError) else "path"
    return ("model", key if key in model else "path")


def _find(document: Document, path: str) -> Path:
    return find_beside(path, document.path.parent)


def _merge(filled: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return given keys, with those that are filled in where they are left out, block by block."""
    merged = {**filled, **{key: value for key, value in given.items() if value is not None}}
    for block in ("model", "inference", "data"):
        if isinstance(given.get(block), dict):
            merged[block] = {**filled[block], **given[block]}
    own = given["data"].get("preprocess") if isinstance(given.get("data"), dict) else None
    if isinstance(own, dict):
        whole = {**filled["data"]["preprocess"], **own}
        if whole.get("spacing_mm") is None:
            whole = {k: v for k, v in whole.items() if k not in {"order", "separate_axis"} - {*own}}
        merged["data"]["preprocess"] = whole
    return merged


def _channels(results: NnunetResults) -> list[str]:
    """Return the names of the input channels, checked against the plans.

    Raises:
        ModelError: dataset.json names none, or not as many as the plans normalise.
    """
    where = results.folder / "dataset.json"
    named = results.dataset.get("channel_names", results.dataset.get("modality"))
    if not isinstance(named, Mapping) or not named:
        raise ModelError(f"{where}: has no channel_names")
    schemes = results.configuration.get("normalization_schemes") or ()
    if len(named) != len(schemes):
        raise ModelError(
            f"{where}: names {len(named)} channels ({', '.join(map(str, named.values()))}), and "
            f"plans.json normalises {len(schemes)} ({', '.join(map(str, schemes))})",
            hint="are both files from the same training?",
        )
    try:
        return [str(named[key]) for key in sorted(named, key=int)]
    except ValueError as error:
        raise ModelError(
            f"{where}: channel_names: the keys are the channels' numbers, such as "
            '{"0": "CT"}; found ' + ", ".join(map(str, named))
        ) from error


def _are_names(channels: list[str]) -> bool:
    """Whether channels can be told apart in names of files."""
    return len({*channels}) == len(channels) and not any(
        fault_of_part(name, "channel") for name in channels
    )


def _labels(results: NnunetResults) -> dict[str, Any]:
    """Return the keys that say what the outputs mean.

    Raises:
        ModelError: dataset.json has no labels of nnU-Net v2, or regions without an order.
    """
    where = results.folder / "dataset.json"
    given = results.dataset.get("labels")
    if not isinstance(given, Mapping) or given.get("background") != 0:
        raise ModelError(
            f"{where}: labels of nnU-Net v2 are integers by name, with background: 0",
            hint="is it the dataset.json of nnU-Net v1?",
        )
    ignored = given.get("ignore")
    named = {
        _label_name(name): value if isinstance(value, list) else [value]
        for name, value in given.items()
        if name != "ignore" and value not in (0, [0])
    }
    if not all(type(integer) is int for own in named.values() for integer in own):
        raise ModelError(f"{where}: labels: {dict(given)} are not integers or lists of them")
    keys: dict[str, Any] = {"ignore_label": ignored} if ignored is not None else {}
    if not _has_regions(given):
        return {
            "activation": "softmax",
            "labels": {own[0]: name for name, own in named.items()},
            **keys,
        }
    order = results.dataset.get("regions_class_order")
    if not isinstance(order, list) or len(order) != len(named):
        raise ModelError(
            f"{where}: has regions ({', '.join(named)}), but regions_class_order is {order}",
            hint="it lists one integer per region",
        )
    return {"activation": "sigmoid", "labels": named, "region_order": order, **keys}


def _label_name(name: str) -> str:
    """Return a label's name without characters that cannot be part of a file name."""
    return re.sub(r'[/\\:*?"<>|]', "-", name).strip().lstrip(".") or "label"


def _has_regions(labels: Mapping[str, Any]) -> bool:
    return any(isinstance(value, list) and len(value) > 1 for value in labels.values())


def _num_outputs(labels: Mapping[str, Any]) -> int:
    """Return how many channels the logits have: regions without background, labels with it."""
    own = {name: value for name, value in labels.items() if name != "ignore"}
    if _has_regions(labels):
        return sum(value not in (0, [0]) for value in own.values())
    return len(own)
