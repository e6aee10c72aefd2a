"""The checker of annotations notices what is wrong, with shapes and without."""

from __future__ import annotations

import gc
import inspect
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType
from typing import Any

import pytest
import torch
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import Float
from torch import Tensor

from esegeta.axes import Image
from esegeta.predict import WindowPlan
from esegeta.workflow.retrain import plan
from tests.typecheck import checked, names_a_shape, typed


class Anything:
    """Whatever a function captures."""


@typed(typechecker=checked)
def halved(number: float) -> int:
    return number / 2  # no int, which is to be noticed


@typed(typechecker=checked)
def added(one: Float[Tensor, " N"], other: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    return one + other


def adder(summand: float) -> Callable[[Any], float]:
    @typed(typechecker=checked)
    def inner(number: int) -> float:
        return number + summand

    return inner


def scaler(factor: float, dtype: torch.dtype) -> Callable[[Any, Any], Tensor]:
    @typed(typechecker=checked)
    def inner(
        one: Float[Tensor, " N"], other: Float[Tensor, " N"], times: int = 1
    ) -> Float[Tensor, " N"]:
        return (factor * times * (one + other)).to(dtype)

    return inner


@typed(typechecker=checked)
@dataclass
class Pair:
    count: int
    image: Image


def test_arguments_and_results_without_shapes_are_checked() -> None:
    with pytest.raises(BeartypeCallHintViolation, match="halved"):
        halved("2")
    with pytest.raises(BeartypeCallHintViolation, match="halved"):
        halved(3)


def test_axes_of_one_name_must_have_one_length() -> None:
    assert added(torch.ones(2), torch.ones(2)).tolist() == [2, 2]
    with pytest.raises(BeartypeCallHintViolation, match="added"):
        added(torch.ones(2), torch.ones(1))


def test_inner_functions_are_checked_and_keep_their_closure() -> None:
    one, two, wrong = adder(1.0), adder(2.0), adder("1")
    assert [one(1), two(1), one(2)] == [2, 3, 3]
    for function in (one, two):
        with pytest.raises(BeartypeCallHintViolation, match="inner"):
            function(1.5)
    with pytest.raises(TypeError):
        wrong(1)


def test_shapes_of_inner_functions_are_checked() -> None:
    ones = torch.ones(2)
    double, triple = scaler(2, torch.float32), scaler(3, torch.float32)
    assert double(ones, ones).tolist() == [4, 4]
    assert triple(ones, ones, times=2).tolist() == [12, 12]
    for function in (double, triple):
        with pytest.raises(BeartypeCallHintViolation, match="inner"):
            function(ones, torch.ones(1))
    with pytest.raises(BeartypeCallHintViolation, match="inner"):
        scaler(2, torch.long)(ones, ones)  # returns integers


@pytest.mark.slow
def test_checkers_keep_no_closure_alive() -> None:
    captured = Anything()
    gone = weakref.ref(captured)
    adder(captured)
    del captured
    gc.collect()
    assert gone() is None


def test_fields_of_dataclasses_are_checked() -> None:
    with pytest.raises(BeartypeCallHintViolation, match="Pair"):
        Pair("one", torch.ones(1, 2))
    with pytest.raises(BeartypeCallHintViolation, match="Pair"):
        Pair(1, torch.ones(1, 2).long())


def test_the_package_is_checked() -> None:
    with pytest.raises(BeartypeCallHintViolation):
        WindowPlan((8, 8), overlap="half")


@pytest.mark.parametrize(
    "hint", [Image, Image | None, tuple[int, Image], Callable[[Image], int], dict[str, list[Image]]]
)
def test_shapes_are_found_in_nested_hints(hint: Any) -> None:
    assert names_a_shape(hint)
    assert not names_a_shape(Callable[[Tensor], dict[str, Any]])


def test_a_checker_is_on_the_line_of_its_function() -> None:
    """An inner function is reached from the line before it, not from another end of the file."""
    code = inspect.unwrap(plan.rehearse).__code__
    assert any(isinstance(one, CodeType) and one.co_name == "step" for one in code.co_consts)
    lines = [line for _, _, line in code.co_lines() if line is not None]
    assert min(lines) == code.co_firstlineno > 1
