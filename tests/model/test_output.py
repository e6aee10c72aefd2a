"""Which of the tensors that a network returns is meant, by index, key or attribute."""

from collections import OrderedDict, UserDict
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from esegeta.errors import OutputChoiceError
from esegeta.model import FIRST, OutputChoice, first_tensor
from esegeta.model.layers import LayerRun
from esegeta.model.output import named_tensors

A, B, C = torch.zeros(1, 2, 4, 4), torch.ones(1, 3, 4, 4), torch.full((1, 2, 2, 2), 2.0)


class Pair(NamedTuple):
    logits: Tensor
    aux: Tensor


@dataclass(frozen=True)
class Result:
    loss: Tensor | None
    logits: Tensor
    aux: Any = None


class ModelOutput(OrderedDict):
    """As Hugging Face's: a mapping whose keys are attributes too."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(name) from error


RETURNED: dict[str, tuple[object, int | str, Tensor]] = {
    "list": ([A, B], 1, B),
    "list, from its end": ([A, B, C], -1, C),
    "list, as text": ([A, B], "1", B),
    "tuple": ((A, B), 0, A),
    "dict": ({"out": A, "aux": B}, "aux", B),
    "dict, dots in a key": ({"out.main": A, "aux": B}, "out.main", A),
    "dict, numbers as keys": ({1: A, 2: B}, 2, B),
    "mapping": (UserDict({"out": A, "aux": B}), "aux", B),
    "nested": ({"out": A, "aux": [B, C]}, "aux.1", C),
    "nested list": ([A, [B, (C,)]], "1.1.0", C),
    "named tuple": (Pair(A, B), "aux", B),
    "named tuple, by index": (Pair(A, B), 1, B),
    "dataclass": (Result(None, A, {"deep": B}), "logits", A),
    "dataclass, nested": (Result(None, A, {"deep": B}), "aux.deep", B),
    "model output": (ModelOutput(loss=C, logits=A), "logits", A),
}


@pytest.mark.parametrize("name", RETURNED)
def test_the_chosen_tensor_is_returned_itself(name: str) -> None:
    output, key, expected = RETURNED[name]
    assert OutputChoice(key).of(output) is expected


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (A, A),
        ([A, B], A),
        ((None, B), B),
        ({"aux": B, "out": A}, B),
        (Result(None, A), A),
        (Pair(B, A), B),
        ([], None),
        ("text", None),
        (None, None),
    ],
)
def test_without_a_choice_the_first_tensor_is_taken(
    output: object, expected: Tensor | None
) -> None:
    assert FIRST.of(output) is expected
    assert first_tensor(output) is expected


@pytest.mark.parametrize(
    ("output", "key", "message"),
    [
        (
            {"out": A, "aux": B},
            "ot",
            'model.output: the network returns no tensor "ot"; it returns out (2x4x4), '
            'aux (3x4x4); did you mean "out"?',
        ),
        (
            [A, B, C],
            3,
            'model.output: the network returns no tensor "3"; it returns 0 (2x4x4), 1 (3x4x4), '
            "2 (2x2x2); choose from: 0, 1, 2",
        ),
        (
            Result(None, A, [B]),
            "loss",
            'model.output: the network returns no tensor "loss"; it returns logits (2x4x4), '
            'aux.0 (3x4x4); did you mean "logits"?',
        ),
        (
            {"out": A, "aux": [B, C]},
            "aux",
            'model.output: "aux" holds 2 tensors, not one; choose from: aux.0, aux.1',
        ),
        (
            A,
            0,
            'model.output: there is no "0": the network returns a single tensor; leave `output` '
            "out",
        ),
        ({"a": 1}, "a", 'model.output: there is no "a": the network returns no tensor'),
    ],
)
def test_an_unknown_choice_is_refused_listing_the_outputs(
    output: object, key: int | str, message: str
) -> None:
    with pytest.raises(OutputChoiceError) as caught:
        OutputChoice(key).of(output)
    assert str(caught.value) == message


def test_a_note_names_the_output_taken_of_several() -> None:
    assert FIRST.note({"out": A, "aux": [B, torch.zeros(())]}) == (
        "the network returns 3 tensors: out (2x4x4), aux.0 (3x4x4), aux.1 (a number); the "
        "first, out, is taken as the prediction (choose with model.output)"
    )
    assert "0 (2x4x4)" in FIRST.note([A] * 20)
    assert "and 12 more" in FIRST.note([A] * 20)
    assert FIRST.note([A]) == FIRST.note(A) == OutputChoice(0).note([A, B]) == ""


def test_tensors_have_paths() -> None:
    found = dict(named_tensors({"a": [A, {"b": B}], "c": Pair(C, A)}))
    assert list(found) == ["a.0", "a.1.b", "c.logits", "c.aux"]
    assert found["a.1.b"] is B


@pytest.mark.parametrize("output", [Result(None, A, B), UserDict(a=A, b=B), ModelOutput(a=A, b=B)])
def test_a_layers_first_tensor_is_replaced_in_any_bundle(output: object) -> None:
    new = LayerRun("layer", output, False).replaced(C)
    assert type(new) is type(output)
    assert [item for _, item in named_tensors(new)] == [C, B]
    assert [item for _, item in named_tensors(output)] == [A, B]


def test_a_layer_that_returns_a_dataclass_is_described() -> None:
    run = LayerRun("layer", [Result(None, A)], False)
    assert run.tensor is A


@pytest.mark.parametrize(
    "output", [{"aux": [A]}, {"aux": {"x": (A, None)}}, {"aux": Result(None, A)}]
)
def test_the_only_tensor_inside_is_taken(output: object) -> None:
    assert OutputChoice("aux").of(output) is A
