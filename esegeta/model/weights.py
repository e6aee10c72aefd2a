"""Weights are data: safetensors, or what torch loads with `weights_only=True`.

What training loops wrap around a state dict (`{"state_dict": ...}`) and put before its keys
(`module.`) is taken off where every key then fits the network, and only there.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from esegeta.errors import WeightsError, WeightsKeyError, some_of, suggest
from esegeta.model.checkpoint import PassedArray, read_checkpoint
from esegeta.model.network import COMPILED, without_wrappers
from esegeta.model.places import holds_arrays, is_in, places, states, under
from esegeta.model.plain_tensors import (
    fault_of_values,
    is_shaped,
    oddity_of,
    shape_of,
    shown_form,
)

PREFIXES = ("module.", f"{COMPILED}.", "model.", "net.", "network.")
"""Prefixes of all keys of a wrapped network's weights, in any order."""

COUNTER = "n_averaged"
"""What `torch.optim.swa_utils.AveragedModel` keeps beside the weights."""


@dataclass(frozen=True)
class LoadedWeights:
    """What was loaded from a file, and what was taken off to make it fit.

    Args:
        path: the file.
        key: dotted key that the weights lay under; empty where they are the whole file.
        chosen: the part of it that was asked for.
        prefixes: prefixes that were taken off every key, the outermost first.
        left_out: entries beside the weights that are not weights themselves.
        others: keys of the file's other weights that would have fitted as well.
    """

    path: Path
    key: str = ""
    chosen: str = ""
    prefixes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know, in sentences; empty where the file was the state dict."""
        return tuple(f"{self.path.name}: {remark}" for remark in self.remarks)

    @property
    def wrapper(self) -> str:
        """Dotted key that was taken off though nobody asked for it; empty for none."""
        return self.key.removeprefix(self.chosen).lstrip(".")

    def describe(self) -> dict[str, Any]:
        """Return the file, where in it the weights lay, and what was taken off, as plain values."""
        return {
            "file": str(self.path),
            "key": self.key,
            "taken_off": {
                "wrapper": self.wrapper,
                "prefixes": list(self.prefixes),
                "entries": list(self.left_out),
            },
            "also_fit": list(self.others),
        }

    @property
    def remarks(self) -> tuple[str, ...]:
        """The notes without the name of the file."""
        parts = [
            *([f'the wrapper "{self.wrapper}"'] if self.wrapper else []),
            *(f'the prefix "{prefix}"' for prefix in self.prefixes),
            *(f'"{name}"' for name in self.left_out),
        ]
        notes = []
        if parts:
            notes.append(f"removed from the weights: {', '.join(parts)}")
        if self.others:
            also = ", ".join(f'"{name}"' for name in self.others)
            taken = f'"{self.key}"' if self.key else "the outermost one"
            notes.append(
                f"several weights fit: {taken} was used, not {also}; choose with weights_key"
            )
        return tuple(notes)


def load_weights(network: nn.Module, path: Path, *, key: str | None = None) -> LoadedWeights:
    """Load weights into a network; every tensor must fit and none may be left over.

    Of several weights in a file that fit, such as a model and its moving average, the first is
    taken in the order of `WRAPPERS`, and the others are named in what is returned.

    Args:
        network: network that they are loaded into; for a compiled one, the module that was
            compiled.
        path: safetensors, or a checkpoint of torch.save.
        key: dotted path to the weights in the file, such as `ema.state`.

    Raises:
        WeightsError: the file is missing or more than plain data, has no such key, or does not
            fit; the message names the missing, unexpected and misshapen keys.
    """
    network = without_wrappers(network)
    expected = network.state_dict()
    chosen, content = _chosen(path, key)
    fits = [fit for name, state in states(content, chosen) for fit in _fits(name, state, expected)]
    if not fits:
        raise _no_state(path, content, chosen)
    whole = [fit for fit in fits if fit.is_whole(expected)]
    if not whole:
        raise _misfit(path, max(fits, key=lambda fit: fit.num_common(expected)), expected)
    best = whole[0]
    _require_plain_numbers(path, best, expected)
    network.load_state_dict({known: best.state[own] for own, known in best.keys.items()})
    others = tuple(fit.name for fit in whole[1:] if fit.name != best.name)
    return LoadedWeights(
        path, best.name, chosen, best.prefixes, best.left_out, tuple(dict.fromkeys(others))
    )


def read_state(path: Path, *, key: str | None = None) -> Mapping[str, Tensor]:
    """Return the first state dict of a file, in the order in which `load_weights` tries them.

    Raises:
        WeightsError: the file is missing, or holds none.
    """
    chosen, content = _chosen(path, key)
    for _, state in states(content, chosen):
        return {name: value for name, value in state.items() if isinstance(value, Tensor)}
    raise _no_state(path, content, chosen)


def network_sha256(network: nn.Module) -> str:
    """Return the SHA-256 of all parameters and buffers of a network."""
    digest = hashlib.sha256()
    for key, value in network.state_dict().items():
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _chosen(path: Path, key: str | None) -> tuple[str, Any]:
    """Return a key and what lies under it in a file; nothing and everything without one."""
    content = read_checkpoint(path)
    if key is None:
        return "", content
    found = under(content, key)
    if found is None:
        there = list(dict.fromkeys(places(content, "")))
        but = f", but {some_of(there)}" if there else ""
        raise WeightsKeyError(
            f'weights_key: {path} holds nothing under "{key}"{but}',
            hint=suggest(key, there) if there else "leave out weights_key",
        )
    return key, found


@dataclass(frozen=True, eq=False)
class _Fit:
    """A state dict without some prefixes, as it meets a network.

    Args:
        name: its key in the file.
        state: the state as it is stored.
        keys: map from its keys to those that the network would know them by.
        prefixes: the prefixes taken off.
        left_out: entries that are not weights.
    """

    name: str
    state: Mapping[str, Any]
    keys: Mapping[str, str]
    prefixes: tuple[str, ...]
    left_out: tuple[str, ...]

    def is_whole(self, expected: Mapping[str, Tensor]) -> bool:
        """Whether all keys and shapes are those of the network."""
        return set(self.keys.values()) == set(expected) and not self.misshapen(expected)

    def num_common(self, expected: Mapping[str, Tensor]) -> int:
        """How many keys are the network's."""
        return len(set(self.keys.values()) & set(expected))

    def misshapen(self, expected: Mapping[str, Tensor]) -> list[str]:
        """Return in words which tensors are of another shape than the network's."""
        pairs = [(known, self.state[own]) for own, known in self.keys.items() if known in expected]
        return [
            f"{known} is {shown_form(value)}, the network's is {shape_of(expected[known])}"
            for known, value in pairs
            if not is_shaped(value, expected[known])
        ]


def _fits(name: str, state: Mapping[Any, Any], expected: Mapping[str, Tensor]) -> Iterator[_Fit]:
    """Yield a state dict with every combination of prefixes taken off, the fewest first."""
    plain = {_without_compiled(key): key for key in expected}
    named = {str(key): value for key, value in state.items()}
    prefixes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    keys = {key: key for key in named}
    while True:
        odd = {own for own, known in keys.items() if _is_beside(known, named[own], expected)}
        left_out += tuple(odd)
        keys = {own: known for own, known in keys.items() if own not in odd}
        yield _Fit(name, named, keys, prefixes, left_out)
        short = {_without_compiled(known): own for own, known in keys.items()}
        if short.keys() == plain.keys() and len(short) == len(keys):
            taken = any(COMPILED in known.split(".") for known in keys.values())
            inner = (f"{COMPILED}.",) if taken else ()
            inside = {own: plain[known] for known, own in short.items()}
            yield _Fit(name, named, inside, prefixes + inner, left_out)
        shared = [p for p in PREFIXES if keys and all(k.startswith(p) for k in keys.values())]
        if not shared:
            return
        prefixes += tuple(shared)  # no key begins with two of them
        keys = {own: known.removeprefix(shared[0]) for own, known in keys.items()}


def _is_beside(key: str, value: Any, expected: Mapping[str, Tensor]) -> bool:
    """Tell whether an entry among weights is not a weight and unknown to the network too."""
    return key not in expected and (key == COUNTER or not isinstance(value, Tensor))


_INSIDE = re.compile(rf"(^|\.){COMPILED}\.")


def _without_compiled(key: str) -> str:
    """Return a key without the names that torch.compile puts before a part of the network."""
    return _INSIDE.sub(r"\1", key) if COMPILED in key else key


def _misfit(path: Path, fit: _Fit, expected: Mapping[str, Tensor]) -> WeightsError:
    found = list(fit.keys.values())
    missing = [key for key in expected if key not in set(found)]
    unexpected = [key for key in found if key not in expected]
    faults = {
        "missing": missing,
        "unexpected": unexpected,
        "wrong shape": fit.misshapen(expected),
    }
    where = f' under "{fit.name}"' if fit.name else ""
    if any(_is_array_of(fit, key) for key in expected):
        return _of_arrays(path, where)
    inside = _that_fits_inside(fit, expected)
    if inside:
        others = [own for own in fit.state if not is_in(f"{fit.name}.{own}".lstrip("."), inside)]
        return WeightsError(
            f'{path}: all weights of the network are under "{inside}", but there are also others: '
            f"{some_of(others)}",
            hint=f'choose those that fit with weights_key: "{inside}"',
        )
    without = f" without {', '.join(fit.prefixes)}" if fit.prefixes else ""
    misfits = "; ".join(f"{kind}: {some_of(keys)}" for kind, keys in faults.items() if keys)
    hint = "do model.network and model.args match the network that was trained?"
    if missing and unexpected:
        hint += f' For "{missing[0]}" {suggest(missing[0], unexpected)}'
    return WeightsError(f"{path}: the weights{where}{without} do not fit: {misfits}", hint=hint)


def _require_plain_numbers(path: Path, fit: _Fit, expected: Mapping[str, Tensor]) -> None:
    """Refuse tensors that a network could only take by losing what they are, or could not use.

    Raises:
        WeightsError: names the first few, and what they are.
    """
    odd = [
        f"{known} is {what}"
        for own, known in fit.keys.items()
        if (what := oddity_of(fit.state[own], expected[known]))
    ]
    if odd:
        raise WeightsError(
            f"{path}: the weights are not plain numbers of the network's kind: {some_of(odd)}",
            hint="save dense tensors of floating point numbers: {key: value.to_dense().float()}",
        )
    infinite = [
        f"{known}: {what}"
        for own, known in fit.keys.items()
        if (what := fault_of_values(fit.state[own], expected[known]))
    ]
    if infinite:
        raise WeightsError(
            f"{path}: the weights contain numbers that are not finite: {some_of(infinite)}",
            hint="take a checkpoint from before the training diverged",
        )


def _is_array_of(fit: _Fit, key: str) -> bool:
    """Tell whether an array stands where a network needs a tensor, whatever its prefix."""
    own = (f"{prefix}{key}" for prefix in ("", "".join(fit.prefixes)))
    return any(isinstance(fit.state.get(name), PassedArray) for name in own)


def _that_fits_inside(fit: _Fit, expected: Mapping[str, Tensor]) -> str:
    """Return the key of what fits among other entries, such as `state_dict.model`, or nothing."""
    for first in dict.fromkeys(own.partition(".")[0] for own in fit.state):
        inside = {
            own.removeprefix(f"{first}."): shape_of(value)
            for own, value in fit.state.items()
            if is_in(own, first)
        }
        if inside == {key: shape_of(value) for key, value in expected.items()}:
            return f"{fit.name}.{first}".lstrip(".")
    return ""


def _of_arrays(path: Path, where: str) -> WeightsError:
    return WeightsError(
        f"{path}: holds numpy arrays{where}, not tensors",
        hint="save tensors: torch.save({key: torch.from_numpy(array) for key, array in "
        "state.items()}, path)",
    )


def _no_state(path: Path, content: Any, chosen: str) -> WeightsError:
    where = f' under "{chosen}"' if chosen else ""
    if holds_arrays(content):
        return _of_arrays(path, where)
    keys = _keys_of(content)
    shown = f" (its keys: {some_of(keys)})" if keys else ""
    return WeightsError(
        f"{path}: holds a {type(content).__name__}, not a state dict{where}{shown}",
        hint="save it with torch.save(network.state_dict(), path)",
    )


def _keys_of(content: Any) -> list[str]:
    return [str(key) for key in content] if isinstance(content, Mapping) else []
