"""A config with what every config has, and blocks that a test adds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from esegeta.config import load_config
from esegeta.config.schema import Config

HEAD = {
    "name": "x",
    "model": {"kind": "monai", "network": "UNet"},
    "labels": {"whole": 1},
    "data": {"cases": "*.nii.gz"},
    "inference": {"window": [8, 8, 8]},
    "targets": [{"label": "whole", "over": "all"}],
    "methods": ["saliency"],
}


def keys_of(folder: Path, **keys: Any) -> Config:
    """Write the config with other keys, and load it."""
    path = folder / "x.yaml"
    path.write_text(yaml.safe_dump({**HEAD, **keys}, sort_keys=False), encoding="utf-8")
    return load_config(path).keys
