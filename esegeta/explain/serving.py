"""Which methods a network can serve: those that watch no layers, those that take no gradient."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from esegeta.model import Capability

if TYPE_CHECKING:
    from esegeta.explain.explainer import Explainer


def takes_gradients(explainer: Explainer) -> bool:
    """Tell whether a method goes back through the network, with these parameters."""
    return any(passes.backwards + passes.extra_backwards for passes in explainer.cost.passes)


def methods_that_serve(capability: Capability) -> list[str]:
    """Return the names of the methods that a network of this capability can serve."""
    from esegeta.explain import EXPLAINERS  # the table of all, of which this is a part

    return [
        name
        for name, method in EXPLAINERS.items()
        if (capability.hooks or not method.traits.needs_hooks)
        # Whatever reads layers has parameters that only a network can fill in.
        and (capability.gradients or not (method.traits.needs_hooks or takes_gradients(method())))
    ]


def require_served(explainer: Explainer, capability: Capability) -> None:
    """Refuse a method that a network cannot serve, and name those that it can.

    Raises:
        ModelError: the method, or one that it is built on, needs layers or gradients that the
            network does not give.
    """
    for part in (getattr(explainer, item.name) for item in fields(explainer)):
        if hasattr(part, "traits"):
            require_served(part, capability)
    hint = f"choose from: {', '.join(methods_that_serve(capability))}"
    if explainer.traits.needs_hooks:
        capability.require_hooks(explainer.name, hint=hint)
    if takes_gradients(explainer):
        capability.require_gradients(explainer.name, hint=hint)
