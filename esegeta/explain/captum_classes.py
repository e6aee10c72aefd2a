"""Captum's attribution classes: which can be used, and which arguments they take."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from esegeta.errors import ConfigError, suggest
from esegeta.own_classes import class_at

INSIDE = {
    "DeepLift": "deep_lift",
    "DeepLiftShap": "deep_lift_shap",
    "LRP": "lrp",
    "GuidedBackprop": "guided_backprop",
    "Deconvolution": "deconvolution",
    "GuidedGradCam": "guided_grad_cam",
    "LayerGradCam": "grad_cam",
    "LayerConductance": "layer_conductance",
    "LayerIntegratedGradients": "layer_integrated_gradients",
    "LayerGradientXActivation": "layer_gradient_x_activation",
    "LayerActivation": "layer_activation",
    "LayerDeepLift": "layer_deep_lift",
    "LayerGradientShap": "layer_gradient_shap",
    "InternalInfluence": "internal_influence",
    "NeuronConductance": "neuron_conductance",
}
"""Classes that watch a module while it runs, and the method here that does it over windows."""


def class_of(path: str) -> type[Any]:
    """Return a class of Captum's kind that takes a function alone.

    Raises:
        ConfigError: there is no such class, it is not an attribution, or it watches a module.
    """
    from captum.attr import Attribution, FeaturePermutation

    kind = class_at(path, what="captum: class")
    if not issubclass(kind, Attribution):
        raise ConfigError(
            f'captum: class: "{path}" is not an attribution of Captum',
            hint="such as captum.attr:ShapleyValues",
        )
    takes = list(inspect.signature(kind.__init__).parameters)[1:]
    if not inspect.isfunction(getattr(kind, "attribute", None)):
        raise ConfigError(f"captum: class: {kind.__name__} is a base class and attributes nothing")
    if issubclass(kind, FeaturePermutation):
        raise ConfigError(
            f"captum: class: {kind.__name__} exchanges features among several images, and here it "
            "gets one",
            hint="use FeatureAblation; in Python, model.as_captum takes a batch of images",
        )
    if "layer" in takes or takes[:1] == ["model"]:
        ours = INSIDE.get(kind.__name__)
        raise ConfigError(
            f"captum: class: {kind.__name__} watches a module while it runs, and here it runs once "
            "for each window",
            hint=f"use {ours}, which does so over all windows" if ours else "",
        )
    return kind


def is_block(value: Any) -> bool:
    """Tell whether an argument is a class with arguments of its own."""
    return isinstance(value, Mapping) and "class" in value


def require_init(kind: type[Any], init: Mapping[str, Any], block: str) -> None:
    """Refuse arguments that a class, or one that it is built on, does not take."""
    takes = list(inspect.signature(kind.__init__).parameters)[1:]
    filled = {name for name in takes[:1] if name != "attribution_method"}
    require_keys(kind.__init__, init, block, kind.__name__, filled)
    for key, value in init.items():
        where = f"{block}: {key}"
        if is_block(value):
            inner = {name: item for name, item in value.items() if name != "class"}
            require_init(class_of(str(value["class"])), inner, where)
        elif key == "attribution_method":
            raise ConfigError(
                f"captum: {where}: should be a block (found {value!r})",
                hint='such as {class: "captum.attr:Saliency"}',
            )


def require_keys(
    call: Any, given: Mapping[str, Any], block: str, owner: str, filled: set[str]
) -> None:
    """Refuse keys that a call does not take, and the lack of one that neither it nor we fill."""
    parameters = inspect.signature(call).parameters
    single = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    own = {name: item for name, item in parameters.items() if name not in ("self", "inputs")}
    for name, item in own.items():
        if item.kind in single and item.default is item.empty and name not in {*given, *filled}:
            raise ConfigError(f"captum: {block}: {owner} needs {name}")
    is_open = any(item.kind is inspect.Parameter.VAR_KEYWORD for item in parameters.values())
    hints = _hints_of(call)
    for key, value in given.items():
        if key not in own and not is_open:
            raise ConfigError(f"captum: {block}: {owner} takes no {key}", hint=suggest(key, own))
        _require_kind(value, hints.get(key), f"captum: {block}: {key}")


def _hints_of(call: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of a call of Captum's own; those of others are their own affair."""
    return get_type_hints(call) if call.__module__.startswith("captum.") else {}


def _require_kind(value: Any, hint: Any, where: str) -> None:
    """Refuse what is no switch or no count where an argument is one; Captum may not look.

    Every whole number that Captum takes counts something, or is a length.
    """
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if value is None and type(None) in kinds:
        return
    if bool in kinds and not isinstance(value, bool):
        raise ConfigError(f"{where}: should be true or false (found {value!r})")
    counts = value if isinstance(value, (list, tuple)) else [value]
    if int in kinds and float not in kinds and not all(_is_count(item) for item in counts):
        raise ConfigError(f"{where}: must be a whole number of at least 1 (found {value!r})")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
