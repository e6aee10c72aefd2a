"""A second device without hardware: tensors that hold CPU tensors and behave as on CUDA.

It computes with the CPU's kernels, so that results are the CPU's bit for bit, and is as strict as
CUDA: tensors of both devices do not mix, `.numpy()` is refused, and draws take a generator of the
device. Backward passes run on a thread of their own, as on CUDA; but the first slope that one is
given is not checked until it meets a tensor of the device. torch registers a device once for a
process and starts those threads at the first backward pass: this must be imported before it.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils import backend_registration

from tests.second_memory import SecondMemory

NAME = "testdevice"
"""Tensors and modules get a method of this name, so that it must be one that no network uses."""

HOST_GENERATOR = torch.Generator

COPIES = {"aten::copy_", "aten::_to_copy", "aten::_copy_from"}
"""What goes from one device to another."""

TAKES_CPU_INDICES = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}
"""What takes its indices from the CPU."""

TAKES_CPU_SCALARS = {"aten::fill_", "aten::fill", "aten::masked_fill", "aten::masked_fill_"}
"""What takes tensors of no axis from the CPU, besides all pointwise operations."""

PLAIN = {int, float, bool, str, type(None), torch.dtype, torch.Size}
"""Types of arguments that are the same on every device."""

REGISTERED = {
    "arange": ("default", "start", "start_step"),
    "copy_": ("default",),
    "eye": ("default", "m"),
    "full": ("default",),
    "linspace": ("default",),
    "logspace": ("default",),
    "ones": ("default",),
    "rand": ("default", "generator"),
    "randint": ("default", "generator", "low", "low_generator"),
    "randn": ("default", "generator"),
    "randperm": ("default", "generator"),
    "scalar_tensor": ("default",),
    "tril_indices": ("default",),
    "triu_indices": ("default",),
    "zeros": ("default",),
}
"""Operations that make a tensor, which torch would build from others; and copies, which it makes
with Python switched off."""

LOWERED = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "conv_transpose1d"), ("default",)),
    **dict.fromkeys(("conv_transpose2d", "conv_transpose3d"), ("input",)),
    **dict.fromkeys(("addmm", "bmm", "linear", "matmul", "mm", "prelu"), ("default",)),
}
"""What autocast computes in half precision."""


class SecondTensor(Tensor):
    """A tensor on the second device; `held` is where its values are."""

    held: Tensor

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor) -> SecondTensor:
        assert type(held) is Tensor and held.device.type == "cpu" and not held.requires_grad
        tensor = Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=DEVICE,
        )
        tensor.held = held
        return tensor

    @classmethod
    def __torch_dispatch__(
        cls, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return compute(function, *args, **(kwargs or {}))

    # Modules then change dtype by swapping whole tensors, not their data without what is held.
    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["held"], None

    @staticmethod
    def __tensor_unflatten__(inner: Any, context: Any, size: Any, stride: Any) -> SecondTensor:
        return SecondTensor(inner["held"])

    def untyped_storage(self) -> torch.UntypedStorage:
        return self.held.untyped_storage()

    def numpy(self, **options: Any) -> Any:
        raise TypeError(
            f"can't convert {self.device} device type tensor to numpy; use .cpu() first"
        )

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def __repr__(self, **options: Any) -> str:
        return f"{self.held!r} on {self.device}"


class SecondGenerator(HOST_GENERATOR):
    """A generator of the second device, which draws what the CPU's draws under the same seed.

    Operations are given a plain object that stands for it, always the same: `KNOWN` has its id.
    Operations on the CPU cannot tell it from one of theirs, and take it.
    """

    KNOWN: ClassVar[weakref.WeakValueDictionary[int, SecondGenerator]] = (
        weakref.WeakValueDictionary()
    )

    def __init__(self) -> None:
        witness = Tensor._make_wrapper_subclass(_Witness, (1,))
        witness.normal_(generator=self)
        self.stand_in = witness.generator
        self.KNOWN[id(self.stand_in)] = self

    @property
    def device(self) -> torch.device:
        return DEVICE


class _MakesGenerators(type):
    def __call__(cls, device: torch.device | str = "cpu") -> torch.Generator:
        is_second = torch.device(device).type == NAME
        return SecondGenerator() if is_second else HOST_GENERATOR(device)

    def __instancecheck__(cls, item: Any) -> bool:
        return isinstance(item, HOST_GENERATOR)


class Generator(metaclass=_MakesGenerators):
    """To take the place of `torch.Generator`, which cannot be extended by a device in Python."""


class _Witness(Tensor):
    """Keeps the generator that an operation on it is given."""

    generator: torch.Generator

    @classmethod
    def __torch_dispatch__(
        cls, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        assert kwargs is not None
        args[0].generator = kwargs["generator"]
        return args[0]


class SecondModule(SecondMemory):
    """What `torch.testdevice` offers, as `torch.cuda` does."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = HOST_GENERATOR()
        self.waits = 0

    def is_available(self) -> bool:
        return True

    def is_initialized(self) -> bool:
        return True

    def _is_in_bad_fork(self) -> bool:
        return False

    def device_count(self) -> int:
        return 1

    def current_device(self) -> int:
        return 0

    def device(self, device: torch.device | int) -> Any:
        return nullcontext()

    def get_device_name(self, device: torch.device) -> str:
        return "second device of the tests"

    def manual_seed(self, seed: int) -> None:
        self.generator.manual_seed(seed)

    def manual_seed_all(self, seed: int) -> None:
        self.generator.manual_seed(seed)

    def get_rng_state(self, device: Any = None) -> Tensor:
        return self.generator.get_state()

    def set_rng_state(self, state: Tensor, device: Any = None) -> None:
        self.generator.set_state(state)

    def synchronize(self, device: Any = None) -> None:
        self.waits += 1

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


def compute(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Run an operation on the values that tensors of the second device hold."""
    owners: dict[int, SecondTensor] = {}
    foreign: list[Tensor] = []
    generators: list[torch.Generator] = []
    host = torch.device("cpu")
    stays = True

    def unwrap(item: Any) -> Any:
        nonlocal stays
        kind = type(item)
        if kind is SecondTensor:
            owners[id(item.held)] = item
            return item.held
        if kind in PLAIN:
            return item
        if kind in (list, tuple):
            return [unwrap(one) for one in item]
        if isinstance(item, Tensor):
            foreign.append(item)
        elif isinstance(item, HOST_GENERATOR):
            generators.append(item)
        elif kind is torch.device:
            stays = item.type == NAME
            return host if stays else item
        return item

    def wrap(item: Any) -> Any:
        if type(item) in (list, tuple):
            return type(item)(wrap(one) for one in item)
        if not isinstance(item, Tensor) or any(item is one for one in foreign):
            return item
        owner = owners.get(id(item))
        assert owner is None or owner.shape == item.shape, f"{function} resizes in place"
        return owner if owner is not None else (SecondTensor(item) if stays else item)

    inner_args = [unwrap(item) for item in args]
    inner_kwargs = {key: unwrap(item) for key, item in kwargs.items()}
    if foreign:
        _refuse_mixed(function, args, foreign)
    for generator in generators:
        _refuse_foreign(generator)
    if torch.Tag.nondeterministic_seeded in function.tags and not generators:
        with _own_draws():
            return wrap(function(*inner_args, **inner_kwargs))
    return wrap(function(*inner_args, **inner_kwargs))


def compute_lowered(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Run an operation under autocast, in half precision."""
    dtype = torch.get_autocast_dtype(NAME)

    def lowered(item: Any) -> Any:
        return item.to(dtype) if _is_second(item) and item.dtype == torch.float32 else item

    with torch.autocast(NAME, enabled=False):
        return function(*pytree.tree_map(lowered, args), **kwargs)


def _refuse_mixed(function: Any, args: Any, foreign: list[Tensor]) -> None:
    name = function.name().split(".")[0]
    if name in COPIES:
        return
    indexed = name in TAKES_CPU_INDICES and _is_second(args[0])
    if indexed:  # the indices follow the tensor; behind them are the values
        foreign = [item for item in args[2:] if isinstance(item, Tensor) and not _is_second(item)]
    scalars = indexed or torch.Tag.pointwise in function.tags or name in TAKES_CPU_SCALARS
    written = name.endswith("_") and not _is_second(args[0])
    for other in foreign:
        if written or not scalars or other.ndim > 0:
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices, "
                f"{DEVICE} and {other.device}! ({name})"
            )


def _is_second(item: Any) -> bool:
    return isinstance(item, SecondTensor)


def _refuse_foreign(generator: torch.Generator) -> None:
    if id(generator) not in SecondGenerator.KNOWN:
        raise RuntimeError(
            f"Expected a '{NAME}' device type for generator but found '{generator.device}'"
        )


@contextmanager
def _own_draws() -> Iterator[None]:
    """Let draws without a generator take the device's random state instead of the CPU's."""
    generator, host = MODULE.generator, torch.default_generator
    before = host.get_state()
    host.set_state(generator.get_state())
    try:
        yield
    finally:
        generator.set_state(host.get_state())
        host.set_state(before)


MODULE = SecondModule()
backend_registration._setup_privateuseone_for_python_backend(NAME, MODULE)
DEVICE = torch.device(NAME, 0)
_EVERY, _ATEN = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")


def _register() -> None:
    _EVERY.fallback(compute, "PrivateUse1")
    _EVERY.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    for operations, work, key in (
        (REGISTERED, compute, "PrivateUse1"),
        (LOWERED, compute_lowered, "AutocastPrivateUse1"),
    ):
        for name, overloads in operations.items():
            for overload in overloads:
                operation = getattr(getattr(torch.ops.aten, name), overload)
                _ATEN.impl(operation, functools.partial(work, operation), key)


_register()
