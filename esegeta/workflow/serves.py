"""What a config asks for but its network cannot do: refused by name, before anything runs."""

from __future__ import annotations

from collections.abc import Callable

from esegeta.axes import Shape
from esegeta.config import RunConfig, blamed_on
from esegeta.errors import ConfigError
from esegeta.explain import Captum, Explainer
from esegeta.explain.captum_trial import try_arguments
from esegeta.explain.serving import require_served, takes_gradients
from esegeta.model import Capability
from esegeta.predict import Predictor
from esegeta.score import SCORES
from esegeta.workflow.checks import prefixed
from esegeta.workflow.plans import nested


def check_capability(config: RunConfig, predictor: Predictor) -> None:
    """Refuse methods, targets and scores of a run that the network does not support.

    Raises:
        ModelError: one needs layers or gradients that are not available; says what would work.
    """
    capability = predictor.capability
    for index, explainer in enumerate(config.methods.values()):
        with blamed_on(config, "methods", index), prefixed(f"methods[{index}]"):
            require_served(explainer, capability)
    for index, target in enumerate(config.keys.targets):
        if target.layer is not None:
            hint = "explain the output instead, such as of: logit with a label"
            with blamed_on(config, "targets", index), prefixed(f"targets[{index}]"):
                capability.require_hooks("of: unit", hint=hint)
    for index, score in enumerate(config.scores.values()):
        with blamed_on(config, "scores", index), prefixed(f"scores[{index}]"):
            for part in nested(score):
                if isinstance(part, Explainer):
                    require_served(part, capability)
                elif part.needs_layers:
                    serve = [name for name, other in SCORES.items() if not other.needs_layers]
                    capability.require_hooks(part.name, hint=f"choose from: {', '.join(serve)}")


def check_captum(config: RunConfig, num_channels: int, shape: Callable[[], Shape]) -> None:
    """Refuse classes of Captum that do not take their arguments, tried on a sum over an image.

    Args:
        config: the config.
        num_channels: channels of an image.
        shape: gives the voxels along each axis of an image as the network sees it.

    Raises:
        ConfigError: a class refuses its arguments.
    """
    for index, explainer in enumerate(config.methods.values()):
        for part in nested(explainer):
            if isinstance(part, Captum):
                place = f"methods[{index}]"
                with blamed_on(config, "methods", index), prefixed(place, ConfigError):
                    try_arguments(part, num_channels, shape())


def check_dissected(config: RunConfig, capability: Capability) -> None:
    """Refuse a dissection of a network whose layers cannot be watched.

    Raises:
        ModelError: they cannot.
    """
    with blamed_on(config, "dissection"):
        capability.require_hooks("dissection")


def check_compared(config: RunConfig, capability: Capability) -> None:
    """Refuse to compare the layers of a network that cannot be watched.

    Raises:
        ModelError: they cannot.
    """
    with blamed_on(config, "similarity"):
        capability.require_hooks("similarity")


def check_concepts(config: RunConfig, capability: Capability) -> None:
    """Refuse concepts of a network whose layers cannot be watched, or that gives no gradients.

    Raises:
        ModelError: it cannot be.
    """
    with blamed_on(config, "concepts"):
        capability.require_hooks("concepts")
        hint = "`esegeta dissect` compares units with concepts, and takes no gradients"
        capability.require_gradients("concepts", hint=hint)


def check_retrained(config: RunConfig, capability: Capability) -> None:
    """Refuse to retrain a network that cannot be built with new weights.

    Raises:
        ModelError: it cannot; says which kinds can.
    """
    with blamed_on(config, "retrain"):
        capability.require_retrainable("retrain")


def asked_words(config: RunConfig) -> str:
    """Return on one line what a config asks of its network, to compare with what it can do."""
    methods = [part for method in config.methods.values() for part in nested(method)]
    parts = {
        "layers": [part.name for part in methods if part.traits.needs_hooks],
        "gradients": [part.name for part in methods if takes_gradients(part)],
        "units": [target.layer for target in config.keys.targets if target.layer is not None],
        "random weights": [
            part.name
            for score in config.scores.values()
            for part in nested(score)
            if getattr(part, "needs_layers", False)
        ],
        "pictures": ["features"] if config.keys.features is not None else [],
        "inspection": ["inspect"] if config.keys.inspect is not None else [],
        "dissection": ["dissection"] if config.keys.dissection is not None else [],
        "concepts": ["concepts"] if config.keys.concepts is not None else [],
        "similarity": ["similarity"] if config.keys.similarity is not None else [],
        "retraining": ["retrain"] if config.keys.retrain is not None else [],
    }
    size = " x ".join(str(length) for length in config.keys.inference.window)
    asked = [f"{name}: {', '.join(map(str, who))}" for name, who in parts.items() if who]
    batch = config.keys.inference.batch_size
    return "; ".join([*asked, f"window: {size}", f"batch: {batch}"])
