"""The checker of annotations notices what is wrong, with shapes and without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import Float, TypeCheckError
from torch import Tensor

from esegeta.axes import Image
from esegeta.predict import WindowPlan
from tests.typecheck import checked, names_a_shape, typed


@typed(typechecker=checked)
def halved(number: float) -> int:
    return number / 2  # no int, which is to be noticed


@typed(typechecker=checked)
def added(one: Float[Tensor, " N"], other: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    return one + other


@typed(typechecker=checked)
@dataclass
class Pair:
    count: int
    image: Image


def test_what_is_given_and_returned_without_shapes() -> None:
    with pytest.raises(BeartypeCallHintViolation, match="halved"):
        halved("2")
    with pytest.raises(BeartypeCallHintViolation, match="halved"):
        halved(3)


def test_axes_of_one_name_are_of_one_length() -> None:
    assert added(torch.ones(2), torch.ones(2)).tolist() == [2, 2]
    with pytest.raises(TypeCheckError, match="added"):
        added(torch.ones(2), torch.ones(1))


def test_fields_of_dataclasses() -> None:
    with pytest.raises(TypeCheckError, match="Pair"):
        Pair("one", torch.ones(1, 2))
    with pytest.raises(TypeCheckError, match="Pair"):
        Pair(1, torch.ones(1, 2).long())


def test_the_package_is_checked() -> None:
    with pytest.raises((BeartypeCallHintViolation, TypeCheckError)):
        WindowPlan((8, 8), overlap="half")


@pytest.mark.parametrize(
    "hint", [Image, Image | None, tuple[int, Image], Callable[[Image], int], dict[str, list[Image]]]
)
def test_shapes_are_found_wherever_they_stand(hint: Any) -> None:
    assert names_a_shape(hint)
    assert not names_a_shape(Callable[[Tensor], dict[str, Any]])
