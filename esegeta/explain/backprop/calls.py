"""Calls of torch functions: intercepted, their arguments found, activations recognised.

Torch hands every function call in the dynamic scope to a mode, whether a module made it or the
forward method itself. A rule therefore sees `nn.ReLU`, `F.relu`, `torch.relu` and `x.relu()`
alike, residual sums and concatenations too, and nothing in the network is ever changed.

`nn.ReLU`, `F.relu(x, inplace=True)`, `torch.relu(x)` and `x.relu_()` are one operation. A rule of
modified backpropagation is written once for the operation, on its out-of-place form.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from types import FunctionType
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from esegeta.model import without_checkpointing


def first_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the first argument."""
    return args[0] if args else kwargs["input"]


def without_first(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return arguments with nothing in the place of the first, so that a rule may keep them."""
    return ((None, *args[1:]), kwargs) if args else ((), {**kwargs, "input": None})


def call_with(x: Tensor, func: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a function with another first argument."""
    return func(x, *args[1:], **kwargs) if args else func(**{**kwargs, "input": x})


def two_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """Return the first two arguments, and the rest by name."""
    rest = dict(kwargs)
    given = list(args)
    for name in ("input", "other", "mat2"):
        if len(given) < 2 and name in rest:
            given.append(rest.pop(name))
    return given[0], given[1], rest


Call = Callable[..., Any]
CallRule = Callable[[Call, tuple[Any, ...], dict[str, Any]], Any]
"""Called instead of `function(*args, **kwargs)`: takes all three, returns the result."""


class Intercept(TorchFunctionMode):
    """Within the context, every call of a ruled function goes to its rule.

    Run the forward pass within, the backward pass outside. Rules themselves run unintercepted.
    Activation checkpointing is switched off, for a block that ran again would run without them.

    Args:
        rules: rules by function, such as `torch.conv3d` or `torch.nn.functional.relu`.
        otherwise: rule of all other functions; they are called as they are by default.
    """

    def __init__(self, rules: Mapping[Call, CallRule], otherwise: CallRule | None = None) -> None:
        super().__init__()
        self.rules = rules
        self.otherwise = otherwise
        self.met: Counter[str] = Counter()
        self._checkpointing = ExitStack()

    def __enter__(self) -> Intercept:
        self._checkpointing.enter_context(without_checkpointing())
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *raised: Any) -> None:
        try:
            super().__exit__(*raised)  # type: ignore[no-untyped-call]
        finally:
            self._checkpointing.close()

    def __torch_function__(
        self,
        func: Call,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func in SEEN_INTO and func not in self.rules:
            with self:
                return SEEN_INTO[func](*args, **(kwargs or {}))
        rule = self.rules.get(func, self.otherwise)
        if rule is None:
            return func(*args, **(kwargs or {}))
        if func in self.rules:
            self.met[getattr(func, "__name__", str(func))] += 1
        return rule(func, args, kwargs or {})


ACTIVATIONS: dict[str, tuple[Call, ...]] = {
    "relu": (torch.relu, F.relu, Tensor.relu, torch.relu_, Tensor.relu_),
    "relu6": (F.relu6,),
    "leaky_relu": (F.leaky_relu, F.leaky_relu_),
    "prelu": (torch.prelu, Tensor.prelu),
    "rrelu": (F.rrelu, torch.rrelu, F.rrelu_),
    "elu": (F.elu, F.elu_),
    "selu": (F.selu, torch.selu, F.selu_),
    "celu": (F.celu, torch.celu, F.celu_),
    "gelu": (F.gelu,),
    "silu": (F.silu,),
    "mish": (F.mish,),
    "softplus": (F.softplus,),
    "threshold": (F.threshold, torch.threshold, F.threshold_),  # type: ignore[attr-defined]
    "clamp": (torch.clamp, Tensor.clamp, torch.clamp_, Tensor.clamp_),
    "clip": (torch.clip, Tensor.clip, torch.clip_, Tensor.clip_),
    "clamp_min": (torch.clamp_min, Tensor.clamp_min, torch.clamp_min_, Tensor.clamp_min_),
    "clamp_max": (torch.clamp_max, Tensor.clamp_max, torch.clamp_max_, Tensor.clamp_max_),
    "hardtanh": (F.hardtanh, F.hardtanh_),
    "hardswish": (F.hardswish,),
    "hardsigmoid": (F.hardsigmoid,),
    "hardshrink": (F.hardshrink, Tensor.hardshrink),
    "softshrink": (F.softshrink,),
    "tanhshrink": (F.tanhshrink,),
    "softsign": (F.softsign,),
    "logsigmoid": (F.logsigmoid,),
    "sigmoid": (torch.sigmoid, Tensor.sigmoid, torch.sigmoid_, Tensor.sigmoid_),
    "expit": (torch.special.expit,),
    "tanh": (torch.tanh, Tensor.tanh, torch.tanh_, Tensor.tanh_),
}
"""Activation functions by name: every spelling, an out-of-place one first.

The modules of `torch.nn` call these, and `F.sigmoid` and `F.tanh` call the tensor's method.
"""

CURVES: dict[str, tuple[Call, ...]] = {
    "exp": (torch.exp, Tensor.exp, torch.exp_, Tensor.exp_),
    "expm1": (torch.expm1, Tensor.expm1, torch.expm1_, Tensor.expm1_),
    "log": (torch.log, Tensor.log, torch.log_, Tensor.log_),
    "log1p": (torch.log1p, Tensor.log1p, torch.log1p_, Tensor.log1p_),
    "sqrt": (torch.sqrt, Tensor.sqrt, torch.sqrt_, Tensor.sqrt_),
    "rsqrt": (torch.rsqrt, Tensor.rsqrt, torch.rsqrt_, Tensor.rsqrt_),
    "square": (torch.square, Tensor.square, torch.square_, Tensor.square_),
    "reciprocal": (torch.reciprocal, Tensor.reciprocal, torch.reciprocal_, Tensor.reciprocal_),
    "rdiv": (Tensor.__rdiv__, Tensor.__rtruediv__),
    "abs": (torch.abs, Tensor.abs, torch.abs_, Tensor.abs_),
    "erf": (torch.erf, Tensor.erf, torch.erf_, Tensor.erf_),
    "sin": (torch.sin, Tensor.sin, torch.sin_, Tensor.sin_),
    "tan": (torch.tan, Tensor.tan, torch.tan_, Tensor.tan_),
    "sinh": (torch.sinh, Tensor.sinh, torch.sinh_, Tensor.sinh_),
    "cosh": (torch.cosh, Tensor.cosh, torch.cosh_, Tensor.cosh_),
    "asinh": (torch.asinh, Tensor.asinh, torch.asinh_, Tensor.asinh_),
    "atan": (torch.atan, Tensor.atan, torch.atan_, Tensor.atan_),
    "exp2": (torch.exp2, Tensor.exp2, torch.exp2_, Tensor.exp2_),
    "log2": (torch.log2, Tensor.log2, torch.log2_, Tensor.log2_),
    "log10": (torch.log10, Tensor.log10, torch.log10_, Tensor.log10_),
    "erfc": (torch.erfc, Tensor.erfc, torch.erfc_, Tensor.erfc_),
    "sign": (torch.sign, Tensor.sign, Tensor.sign_),
    "round": (torch.round, Tensor.round, torch.round_, Tensor.round_),
    "floor": (torch.floor, Tensor.floor, torch.floor_, Tensor.floor_),
    "cos": (torch.cos, Tensor.cos, torch.cos_, Tensor.cos_),
    "pow": (torch.pow, Tensor.pow, Tensor.pow_, Tensor.__pow__, Tensor.__ipow__),
    "rpow": (Tensor.__rpow__,),
}
"""Other nonlinear element-wise functions of one tensor, which are not called activations."""

PRODUCTS: dict[str, tuple[Call, ...]] = {
    "mul": (torch.mul, torch.multiply, Tensor.mul, Tensor.multiply, Tensor.mul_, Tensor.multiply_),
    "matmul": (torch.matmul, Tensor.matmul),
    "bmm": (torch.bmm, Tensor.bmm),
    "mm": (torch.mm, Tensor.mm),
    "einsum": (torch.einsum,),
}
"""Functions that are linear in each of their tensors."""

QUOTIENTS: dict[str, tuple[Call, ...]] = {
    "div": (
        *(torch.div, torch.divide, torch.true_divide),
        *(Tensor.div, Tensor.divide, Tensor.div_, Tensor.divide_),
    ),
    "true_divide": (Tensor.true_divide, Tensor.true_divide_),
}


def _glu(input: Tensor, dim: int = -1) -> Tensor:
    value, gate = input.chunk(2, dim=dim)
    return value * torch.sigmoid(gate)


def _mean(input: Tensor, dim: Any = None, *args: Any, keepdim: bool = False, **rest: Any) -> Tensor:
    return input.mean() if dim is None else input.mean(dim, keepdim=keepdim)


def _opened(function: Call) -> Call:
    """Return a function of `torch.nn.functional` that does not hand itself over once more."""
    known: Any = inspect.unwrap(function)
    names = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")
    ours = {**known.__globals__, **dict.fromkeys(names, _no)}
    opened = FunctionType(known.__code__, ours, known.__name__, known.__defaults__)
    opened.__kwdefaults__ = known.__kwdefaults__
    return opened


def _no(*tensors: Any) -> bool:
    return False


MADE_OF_OTHERS: tuple[Call, ...] = (
    F.multi_head_attention_forward,
    *(F.lp_pool1d, F.lp_pool2d, F.lp_pool3d),
    *(F.normalize, F.local_response_norm),
)

SEEN_INTO: dict[Call, Call] = {
    **{function: _opened(function) for function in MADE_OF_OTHERS},
    F.glu: _glu,
    torch.var_mean: lambda *args, **rest: (torch.var(*args, **rest), _mean(*args, **rest)),
    torch.std_mean: lambda *args, **rest: (torch.std(*args, **rest), _mean(*args, **rest)),
    torch.special.softmax: torch.softmax,
    torch.special.log_softmax: torch.log_softmax,
    torch.special.logsumexp: torch.logsumexp,
}
"""Functions made of others, which torch hands over whole: what they call is met one by one."""

IN_PLACE = "inplace"

R = TypeVar("R")


@dataclass(frozen=True)
class Resolved:
    """One call of an operation, out of place.

    Args:
        function: the operation in a form that writes over nothing.
        args: arguments of the call; the first is what it works on.
        kwargs: keyword arguments of the call.
        in_place: whether the network wants the result written over the first.
    """

    function: Call
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    in_place: bool

    @property
    def input(self) -> Any:
        """What it works on: a tensor, but for `torch.pow(2, x)` and its like."""
        return self.args[0]

    @property
    def is_on_path(self) -> bool:
        """Whether gradients can flow through its first argument to the input of the network."""
        return torch.is_grad_enabled() and requires_grad(self.input)

    def of(self, first: Any) -> Tensor:
        """Return the operation's result for another first argument."""
        result: Tensor = self.function(first, *self.args[1:], **self.kwargs)
        return result

    def finish(self, result: Any) -> Any:
        """Put the result where the network looks for it; some functions return several."""
        return self.input.copy_(result) if self.in_place else result


def resolve(function: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Resolved:
    """Return what a call of an operation of these tables does, out of place."""
    out_of_place = _out_of_place().get(function, function)
    in_place = out_of_place is not function
    kwargs = dict(kwargs)
    if _has_flag(function):
        bound = inspect.signature(function).bind(*args, **kwargs)
        bound.apply_defaults()
        in_place = bool(bound.arguments[IN_PLACE])
        args, kwargs = (), {**bound.arguments, IN_PLACE: False}
    first = next((name for name in ("input", "self") if name in kwargs), None)
    if not args and first is not None:
        args = (kwargs.pop(first),)
    return Resolved(out_of_place, args, kwargs, in_place)


def requires_grad(value: Any) -> bool:
    """Tell whether something is a tensor that gradients are wanted for."""
    return isinstance(value, Tensor) and value.requires_grad


def spelled(table: dict[str, tuple[Call, ...]], rule: R) -> dict[Call, R]:
    """Return one rule for every spelling of every operation of a table."""
    return {spelling: rule for spellings in table.values() for spelling in spellings}


@cache
def _out_of_place() -> dict[Call, Call]:
    """Return for each in-place spelling the operation's first one; both take the same values."""
    return {
        spelling: spellings[0]
        for table in (ACTIVATIONS, CURVES, PRODUCTS, QUOTIENTS)
        for spellings in table.values()
        for spelling in spellings
        if spelling.__name__.endswith("_") and not spelling.__name__.endswith("__")
    }


@cache
def _has_flag(function: Call) -> bool:
    try:
        return IN_PLACE in inspect.signature(function).parameters
    except ValueError:  # a builtin; its in-place form has a name of its own
        return False
