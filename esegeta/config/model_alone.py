"""The config of a trained model alone, without cases, targets and methods."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from esegeta.config.lines import Document
from esegeta.config.parse import RunConfig, check_document


def config_of_model(
    model: Mapping[str, Any], *, called: str, inference: Mapping[str, Any], device: str = "auto"
) -> RunConfig:
    """Return the checked config of a model without cases, targets and methods.

    Args:
        model: keys of the model, such as kind and path; those that are None are left out.
        called: name for messages, in place of a config's file.
        inference: keys that override the folder's; those that are None are left out.
        device: auto, cpu, cuda or cuda:1.

    Raises:
        ConfigError: the folder cannot be used; says why.
    """
    own = {key: value for key, value in inference.items() if value is not None}
    content: dict[str, Any] = {
        "version": 1,
        "name": "model",
        "device": device,
        "model": {key: value for key, value in model.items() if value is not None},
        "data": {"cases": []},
    }
    if own:
        content["inference"] = own
    return check_document(Document(Path(called), content, {}))
