"""The one place that hooks layers: they are watched, changed, held, cut out or stopped at.

Hooks run in the order in which they were set, so that a later one sees what an earlier one made of
the output, and are gone on leaving, also after an exception. Whoever watches is handed the layer's
own output while the network goes on with a copy, which an activation in place may write over.

Activation checkpointing (`torch.utils.checkpoint`) is switched off meanwhile. Where a network has
one of its own, its blocks run once more in the backward pass. That is not a second run of their
layers: they must see then what they saw in the forward pass, so the backward pass belongs inside
the `with` of a hook that changes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from esegeta.errors import LayerError
from esegeta.model.checkpointing import without_checkpointing
from esegeta.model.layers import LayerRun, describe_output, find_layers, refuse_script
from esegeta.model.output import first_tensor

Change = Callable[[Tensor], Tensor]
"""Maps a layer's output for a batch of windows to what the rest of the network sees."""


Act = Callable[[LayerRun], object]
"""Called when a layer has run; unless None, its result goes on in place of the output."""


@contextmanager
def on_output(layers: Mapping[str, nn.Module], act: Act) -> Iterator[None]:
    """Act each time that one of some layers has run.

    Args:
        layers: layers by name.
        act: function that sees the layer's output, and may return another.
    """
    outside = torch._C._current_graph_task_id()

    def hook_for(name: str) -> Callable[[nn.Module, object, object], object]:
        def hook(module: nn.Module, inputs: object, output: object) -> object:
            # In another backward pass than the one, if any, that these hooks were set in.
            is_repeated = torch._C._current_graph_task_id() != outside
            return act(LayerRun(name, output, is_repeated))

        return hook

    with ExitStack() as stack:
        stack.enter_context(without_checkpointing())
        for name, layer in layers.items():
            refuse_script(layer, name)
            stack.callback(layer.register_forward_hook(hook_for(name)).remove)
        yield


@contextmanager
def on_input(
    layers: Mapping[str, nn.Module], act: Callable[[str, Tensor | None], None]
) -> Iterator[None]:
    """Act each time before one of some layers runs.

    Args:
        layers: layers by name.
        act: function that is given the layer's name and the first tensor of its arguments.
    """

    def hook_for(name: str) -> Callable[[nn.Module, Any, dict[str, Any]], None]:
        def hook(module: nn.Module, inputs: Any, keywords: dict[str, Any]) -> None:
            act(name, first_tensor(inputs or keywords))

        return hook

    with ExitStack() as stack:
        for name, layer in layers.items():
            refuse_script(layer, name)
            handle = layer.register_forward_pre_hook(hook_for(name), with_kwargs=True)
            stack.callback(handle.remove)
        yield


@contextmanager
def tap(network: nn.Module, *names: str) -> Iterator[dict[str, Tensor]]:
    """Watch layers: the dictionary holds the first tensor of each one's latest output, by name.

    Running a window again replaces and never appends. Layers that have not run, or that returned
    no tensor, are not in it.

    Raises:
        LayerError: there is no such layer.
    """
    latest: dict[str, Tensor] = {}

    def act(run: LayerRun) -> object:
        tensor = run.tensor
        if tensor is None:
            latest.pop(run.name, None)
            return None
        kept, result = _kept_and_handed_on(run, tensor)
        latest[run.name] = kept
        return result

    with on_output(find_layers(network, names), act):
        yield latest


@contextmanager
def read_once(network: nn.Module, name: str) -> Iterator[list[Tensor]]:
    """Read the output of a layer that runs once in a forward pass, in its graph.

    Raises:
        LayerError: there is no such layer, it runs again, returns no tensor, or one whose copy the
            network cannot go on with, or runs without a graph where one is wanted.
    """
    outputs: list[Tensor] = []
    wants_graph = torch.is_grad_enabled()

    def act(run: LayerRun) -> object:
        tensor = run.require_tensor()
        if not (run.is_repeated and outputs):
            _require_first_run(run, outputs)
            _require_graph(run, wants_graph)
            outputs.append(tensor)
        return run.replaced(tensor.clone())

    with on_output(find_layers(network, [name]), act):
        yield outputs


@contextmanager
def cut_at(network: nn.Module, name: str, change: Change | None = None) -> Iterator[list[Tensor]]:
    """Cut the graph at a layer: its output, perhaps changed, is a leaf that gradients reach.

    Args:
        network: the whole one.
        name: name of a layer that runs once in a forward pass.
        change: change to make to its output.

    Raises:
        LayerError: there is no such layer, it runs again, returns nothing that can be replaced, or
            runs without a graph where one is wanted.
    """
    leaves: list[Tensor] = []
    wants_graph = torch.is_grad_enabled()

    def act(run: LayerRun) -> object:
        output = run.require_tensor()
        if not (run.is_repeated and leaves):
            _require_first_run(run, leaves)
            _require_graph(run, wants_graph)
            _require_floats(run, output)
            seen = output.detach()
            leaf = seen if change is None else change(seen).detach().to(output.dtype)
            leaves.append(leaf.requires_grad_(True))
        # An activation in place behind the layer must not touch the leaf.
        return run.replaced(leaves[0].clone())

    with on_output(find_layers(network, [name]), act):
        yield leaves


@contextmanager
def switched_off(
    network: nn.Module,
    layer: str,
    units: Sequence[int],
    values: Float[Tensor, " K"] | None = None,
) -> Iterator[None]:
    """Hold some units of a layer at a constant; what comes after the layer sees nothing else.

    Args:
        network: the whole one; it is as it was on leaving, also after an exception.
        layer: name of the layer.
        units: channels of the layer's output, from 0.
        values: value that each of them is held at; 0 by default.

    Raises:
        LayerError: there is no such layer, or it returns nothing that can be replaced.
    """
    chosen = list(units)

    def act(run: LayerRun) -> object:
        changed = run.require_tensor().clone()
        column = (len(chosen), *[1] * (changed.ndim - 2))
        held = torch.zeros(column) if values is None else values.reshape(column)
        changed[:, chosen] = held.to(changed)
        return run.replaced(changed)

    with on_output(find_layers(network, [layer]), act):
        yield


@contextmanager
def held_at(network: nn.Module, layer: str, output: Tensor) -> Iterator[None]:
    """Put another run's output in place of a layer's own; what comes after sees only that.

    Args:
        network: the whole one; it is as it was on leaving, also after an exception.
        layer: name of the layer; it still runs, and hooks that were there before see what it does.
        output: output of the layer for the same windows; for a tuple, its first tensor.

    Raises:
        LayerError: there is no such layer, or what it returns is of another shape.
    """

    def act(run: LayerRun) -> object:
        own = run.tensor
        if own is None or own.shape != output.shape:
            found = describe_output(run.output) if own is None else list(own.shape)
            raise LayerError(
                f'layer "{layer}" is to be held at an output of shape {list(output.shape)}, '
                f"but returns {found}"
            )
        return run.replaced(output.to(own, copy=True))

    with on_output(find_layers(network, [layer]), act):
        yield


def run_up_to(
    network: nn.Module, names: Collection[str], run: Callable[[], object]
) -> dict[str, Tensor]:
    """Run a network as far as the last of some layers, and return their first tensors by name.

    The hooks set here come last: they see what others have made of the outputs.

    Args:
        network: the whole one.
        names: names of the layers.
        run: runs the network.

    Raises:
        LayerError: there is no such layer, or one does not run or returns no tensor.
    """
    reached: dict[str, LayerRun] = {}
    kept: dict[str, Tensor] = {}

    def act(layer_run: LayerRun) -> object:
        reached[layer_run.name] = layer_run
        is_last = len(reached) == len(names)
        tensor, result = layer_run.tensor, None
        if tensor is not None and is_last:
            kept[layer_run.name] = tensor
        elif tensor is not None:
            kept[layer_run.name], result = _kept_and_handed_on(layer_run, tensor)
        if is_last:
            raise _StoppedError(reached)
        return result

    try:
        with on_output(find_layers(network, names), act):
            run()
    except _StoppedError as stopped:
        if stopped.reached is not reached:  # another's, around this one
            raise
    for name in names:
        if name not in reached:
            raise LayerError(f'layer "{name}" does not run', hint="name another layer")
        reached[name].require_tensor()
    return kept


def is_watched(network: nn.Module) -> bool:
    """Tell whether hooks or modes of others see the network run."""
    if torch._C._len_torch_function_stack():
        return True
    tables = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(module, name, None) for module in network.modules() for name in tables)


class _StoppedError(BaseException):
    """All layers have run; not an error, so that no network's `except Exception` catches it."""

    def __init__(self, reached: object) -> None:
        super().__init__()
        self.reached = reached


def _kept_and_handed_on(run: LayerRun, tensor: Tensor) -> tuple[Tensor, object]:
    """Return what a watcher keeps of an output, and what the network goes on with."""
    if run.is_replaceable:
        return tensor, run.replaced(tensor.clone())
    return tensor.clone(), None


def _require_first_run(run: LayerRun, earlier: Sequence[Tensor]) -> None:
    if earlier:
        raise LayerError(
            f'layer "{run.name}" runs more than once in a forward pass, so it has no single '
            "activation",
            hint="name a layer that runs once",
        )


def _require_graph(run: LayerRun, wants_graph: bool) -> None:
    if wants_graph and not torch.is_grad_enabled():
        raise LayerError(
            f'layer "{run.name}" runs without a graph, so no gradient reaches it: under '
            "torch.no_grad, or activation checkpointing with use_reentrant=True",
            hint="give the network's checkpoint use_reentrant=False, or name a layer outside",
        )


def _require_floats(run: LayerRun, output: Tensor) -> None:
    if not output.is_floating_point():
        raise LayerError(
            f'layer "{run.name}" returns {output.dtype}, for which there is no gradient',
            hint="name another layer",
        )
