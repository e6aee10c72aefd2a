"""Blocks of the commands beside `run`: each as it works, with one or two keys changed."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any, get_args

import numpy as np
from pydantic import BaseModel

from esegeta.config.schema import Config
from tests.experiments import Lab, save_image, voxels
from tests.fuzz.values import EVERY, any_value

LAYER, TRUTH = "model.0", "truth.nii.gz"
BLOCKS: Mapping[str, dict[str, Any]] = {
    "concepts": {
        "layers": [LAYER],
        "targets": ["liver"],
        "concepts": {"own": 1, "edge": {"boundary_of": "own", "within_mm": 2.0}},
        "discover": {"count": 2, "scales": [8]},
        "shap": {"positions": 100},
        "errors": False,
        "permutations": 19,
    },
    "similarity": {"layers": [LAYER], "methods": ["cka"], "samples": 100},
    "features": {
        "objectives": [{"name": "one", "layer": LAYER, "unit": 0}, {"label": "liver"}],
        "size": [8, 8, 8],
        "blur": {"every": 4, "sigma_mm": 2.0},
        "compare": ["simple_mean"],
        "alpha_norm": True,
        "steps": 1,
        "patches": 2,
    },
    "inspect": {"layers": [LAYER], "channels": [0, 1], "cases": ["a"]},
    "examples": {
        "of": "case",
        "layer": LAYER,
        "surrogate": {"kind": "tree", "depth": 2},
        "influence": {
            "checkpoints": ["w.safetensors"],
            "training": {"cases": [{"image": "a.nii.gz", "label": TRUTH}], "slabs": 2},
            "test": {"targets": ["liver"]},
        },
    },
    "retrain": {
        "modes": ["roar"],
        "fractions": [0.5],
        "baseline": {"kind": "blur", "sigma_mm": 2.0},
        "loss_args": {"softmax": True},
        "optimizer_args": {"lr": 0.1},
        "iterations": 1,
        "patch": [8, 8, 8],
        "seeds": [0],
        "folds": 2,
    },
    "cluster": {
        "kind": "slurm",
        "workers": 2,
        "memory_gb": 4.0,
        "walltime": "01:00:00",
        "options": ["--x"],
        "prologue": ["module load x"],
    },
}
AMOUNTS = ("0", "1", "2", "3", "6", "19", "100", "1000000000", "9007199254740993", "1e-300", "0.5")
WORDS = (LAYER, "model", "all", "liver", "background", "a", "f", "A", "mean", "zero", "w.pt", "'1'")
"""What may stand in some of the keys, if not together."""
ODD_KEYS = ("", "1", "true", "null", "Layers", "layer s", "=x", "'\\u202e'", "x" * 300, "a.b", "é")


def block(name: str, lab: Lab, random: Random) -> list[str]:
    """A block with values replaced, and keys that it may take, or does not know."""
    own = given(lab, name)
    holders = [(own, key) for key in own] + list(_inside(own))
    marks = {}
    for number in range(random.choice((1, 1, 2))):
        holder, key = random.choice(holders)
        what = random.random()
        if what < 0.4:
            holder, key = own, random.choice(_keys_of(name))
        elif what < 0.5:
            holder, key = own, f"{random.choice(ODD_KEYS)}"
        before = holder[key] if isinstance(holder, list) else holder.get(key)
        marks[f"'@@block@@{number}'"] = _alike(before, random)
        holder[key] = f"@@block@@{number}"
    text = lab.write().read_text(encoding="utf-8")
    for mark, value in marks.items():
        text = text.replace(mark, value)
    lab.config.write_text(text, encoding="utf-8", errors="surrogatepass")
    return ["validate", str(lab.config)]


def _alike(before: Any, random: Random) -> str:
    """Return a value of the kind that stands there, at its limits and beyond, or any."""
    if random.random() < 0.3:
        return any_value(random) if random.random() < 0.5 else random.choice(EVERY)
    if isinstance(before, str):
        return random.choice(WORDS)
    if isinstance(before, (int, float)):
        return random.choice(AMOUNTS)
    if before is None:
        return random.choice((*WORDS, *AMOUNTS, "true", "[a]", "[0, 1]"))
    items = ", ".join(random.choice((*WORDS, *AMOUNTS)) for _ in range(random.randint(0, 3)))
    return f"[{items}]" if isinstance(before, list) else f"{{a: {random.choice(AMOUNTS)}}}"


def given(lab: Lab, name: str) -> dict[str, Any]:
    """Give an experiment a block as it works, on six cases with a ground truth; return it."""
    files = {"image": "a.nii.gz", "label": TRUTH}
    lab.keys["data"]["cases"] = [{"name": case, **files} for case in "abcdef"]
    lab.keys[name] = copy.deepcopy(BLOCKS[name])
    return lab.keys[name]  # type: ignore[no-any-return]


def write_truth(lab: Lab) -> None:
    """Write the ground truth of the cases beside their image."""
    image = voxels(lab.folder / "a.nii.gz")
    save_image(lab.folder / TRUTH, (image > 0).astype(np.uint8))


def _inside(keys: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the places within nested values."""
    for key, value in list(keys.items() if isinstance(keys, dict) else enumerate(keys)):
        yield keys, key
        if isinstance(value, (dict, list)):
            yield from _inside(value)


def _keys_of(name: str) -> list[str]:
    """Return all keys that a block takes, as the schema has them."""
    (kind,) = (
        one
        for one in get_args(Config.model_fields[name].annotation)
        if isinstance(one, type) and issubclass(one, BaseModel)
    )
    return [item.alias or key for key, item in kind.model_fields.items()]
