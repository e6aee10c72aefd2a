"""The keys of labels: what output channels are called, and how they are decided and painted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    StrictFloat,
    StrictInt,
    Tag,
    field_validator,
)

from esegeta.config.keys import Keys, LabelInteger, fault_of_part
from esegeta.errors import ConfigError, suggest
from esegeta.model import Labels, Postprocessing
from esegeta.model.label_forms import is_by_name, read_order, read_regions, read_thresholds

COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


def _label_name(value: Any) -> Any:
    fault = fault_of_part(str(value), "label")
    if fault:
        raise ValueError(fault)
    return value


def _integers(value: Any) -> Any:
    """Refuse anything but an integer of the ground truth or a list of integers."""
    listed = value if isinstance(value, (list, tuple)) else [value]
    if not listed or not all(type(integer) is int for integer in listed):
        raise ValueError("give the integer of the label, or a list of them: whole: [1, 2, 4]")
    return tuple(listed)


def _form_of(value: Any) -> str:
    return "by-name" if any(isinstance(key, str) for key in value) else "by-integer"


def _one_form(value: Any) -> Any:
    """Tell names from integers among the keys; text that numbers something is an integer."""
    if not isinstance(value, dict):
        raise ValueError("give the name of each label integer, such as {1: liver}")
    numbered = {_number(key): item for key, item in value.items()}
    if len(numbered) < len(value):
        twice = next(key for key in numbered if [_number(own) for own in value].count(key) > 1)
        raise ValueError(f"{twice} is given twice")
    with _as_value_error("labels"):
        is_by_name(numbered)
    return numbered


def _number(key: Any) -> Any:
    return int(key) if re.fullmatch(r"[-+]?[0-9]+", str(key)) else key


ByInteger = dict[LabelInteger, str]
ByName = dict[
    Annotated[str, BeforeValidator(_label_name)],
    Annotated[tuple[int, ...], BeforeValidator(_integers)],
]

LabelsKey = Annotated[
    Annotated[ByInteger, Tag("by-integer")] | Annotated[ByName, Tag("by-name")],
    Discriminator(_form_of),
    BeforeValidator(_one_form),
]
"""The name of each integer, or the integers of each name."""


class PostprocessingKeys(Keys):
    """What happens to predicted masks: `true` is for all labels."""

    keep_largest: bool | list[str] = False
    min_volume_ml: StrictFloat | dict[str, StrictFloat] | None = None
    fill_holes: bool | list[str] = False


class LabelKeys(Keys):
    """What output channels mean, how they are decided, and what happens to masks then."""

    activation: Literal["softmax", "sigmoid"] = "softmax"
    labels: LabelsKey
    ignore_label: StrictInt | None = None
    region_order: list[StrictInt | str | dict[str, StrictInt]] | None = None
    threshold: StrictFloat | dict[str, StrictFloat] | None = None
    postprocessing: PostprocessingKeys | None = None

    @field_validator("labels")
    @classmethod
    def _labels_have_channels(cls, value: dict[Any, Any]) -> dict[Any, Any]:
        if is_by_name(value):
            with _as_value_error("labels"):
                read_regions(value)
            return value
        below = [integer for integer in value if integer < 0]
        if below:
            raise ValueError(f"{below[0]} is not a label integer; it must be 0 or more")
        return value

    @field_validator("ignore_label")
    @classmethod
    def _ignores_no_label(cls, value: int | None, info: Any) -> int | None:
        for name, integers in _regions(info).items():
            if value in integers:
                raise ValueError(
                    f'{value} belongs to the label "{name}"; an ignored integer cannot belong to '
                    "a label"
                )
        return value

    @field_validator("region_order")
    @classmethod
    def _orders_labels(cls, value: list[Any] | None, info: Any) -> list[Any] | None:
        regions = _regions(info)
        if value is not None and regions:
            by_name, ignored = is_by_name(info.data["labels"]), info.data.get("ignore_label")
            painted = {name: own for name, own in regions.items() if own != (0,)}
            with _as_value_error("region_order"):
                read_order(value, painted, by_name=by_name, ignore_label=ignored)
        return value

    @field_validator("threshold")
    @classmethod
    def _threshold_of_labels(cls, value: Any, info: Any) -> Any:
        names = _foreground(info)
        if value is not None and names and "activation" in info.data:
            with _as_value_error("threshold"):
                read_thresholds(value, names, info.data["activation"])
        return value

    @field_validator("postprocessing")
    @classmethod
    def _steps_of_labels(
        cls, value: PostprocessingKeys | None, info: Any
    ) -> PostprocessingKeys | None:
        names = _foreground(info)
        if value is not None and names:
            with _as_value_error("postprocessing"):
                Postprocessing.of(value.model_dump(), names)
        return value

    def labels_over(self, num_outputs: int) -> Labels:
        """Return the labels of a network with so many output channels.

        Raises:
            ConfigError: they cannot be matched.
        """
        steps = self.postprocessing
        return Labels.of(
            self.labels,
            self.activation,
            num_outputs,
            region_order=self.region_order,
            ignore_label=self.ignore_label,
            threshold=self.threshold,
            postprocessing=None if steps is None else steps.model_dump(),
        )

    def decision_parts(self) -> dict[str, Any]:
        """Return all that decides masks, label maps and truths, for fingerprints; order matters."""
        dumped = self.model_dump(mode="json", include={*LabelKeys.model_fields})
        return {**dumped, "labels": [[str(key), value] for key, value in dumped["labels"].items()]}


def _regions(info: Any) -> Mapping[str, tuple[int, ...]]:
    """Return the integers of each label; empty where `labels` is at fault itself."""
    given = info.data.get("labels")
    if not given:
        return {}
    if is_by_name(given):
        return read_regions(given)
    return {name: (integer,) for integer, name in sorted(given.items())}


def _foreground(info: Any) -> list[str]:
    return [name for name, integers in _regions(info).items() if integers != (0,)]


def checked_colours(value: dict[str, str], info: Any) -> dict[str, str]:
    """Return the colours of labels, by name.

    Raises:
        ValueError: a label does not exist, or a colour is not `#rrggbb`.
    """
    names = _regions(info)
    for name, colour in value.items():
        if names and name not in names:
            raise ValueError(f'no label "{name}"; {suggest(name, names)}')
        if not COLOUR.fullmatch(colour):
            raise ValueError(
                f'"{colour}" of {name} is not a colour; give red, green and blue in hexadecimal, '
                'such as "#e69f00"'
            )
    return {name: colour.lower() for name, colour in value.items()}


@contextmanager
def _as_value_error(key: str) -> Iterator[None]:
    """Let pydantic say where in the file an error of labels comes from."""
    try:
        yield
    except ConfigError as error:
        text = str(error)
        for prefix in (f"{key}: ", f"{key}.", f"{key} "):
            text = text.removeprefix(prefix)
        raise ValueError(text) from error
