"""How labels are written, in a config and in Python, and what the written forms stand for.

Two forms: the name of each integer, `{1: liver}`, or the integers of each name,
`{whole: [1, 2, 4], core: [1, 4], enhancing: 4}`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from esegeta.errors import ConfigError, suggest

BACKGROUND = "background"

Integers = tuple[int, ...]

RegionIntegers = Mapping[str, Integers]
"""The integers of each label, in the order written."""

OrderEntry = str | int | Mapping[str, int]
"""An entry of a `region_order`: a label, the integer that it paints, or both."""


def is_by_name(given: Mapping[Any, Any]) -> bool:
    """Tell whether labels are written as the integers of each name.

    Raises:
        ConfigError: some are and some are not.
    """
    by_name = [key for key in given if isinstance(key, str)]
    if by_name and len(by_name) < len(given):
        integer = next(key for key in given if not isinstance(key, str))
        raise ConfigError(
            f'labels: {integer} is an integer and "{by_name[0]}" a name',
            hint="write all labels one way: {1: liver}, or {liver: 1, organs: [1, 2]}",
        )
    return bool(by_name)


def read_regions(given: Mapping[str, Any]) -> RegionIntegers:
    """Return the integers of each name, checked.

    Raises:
        ConfigError: a name has no integers, one twice, one below 0, or the background's beside
            others; or two names have the same.
    """
    regions: dict[str, Integers] = {}
    for name, value in given.items():
        listed = isinstance(value, Sequence) and not isinstance(value, str)
        integers = tuple(value) if listed else (value,)
        if not integers or not all(type(integer) is int for integer in integers):
            raise ConfigError(
                f'labels: "{name}": {value!r} is neither an integer nor a list of integers',
                hint=f"such as {name}: 1, or {name}: [1, 2]",
            )
        for integer in integers:
            if integers.count(integer) > 1:
                raise ConfigError(f'labels: "{name}": {integer} is listed twice')
            if integer < 0:
                raise ConfigError(
                    f'labels: "{name}": {integer} is not a label integer; it must be 0 or more'
                )
        if 0 in integers and len(integers) > 1:
            raise ConfigError(
                f'labels: "{name}": 0 is the background of every label map and belongs to no region'
            )
        for other, known in regions.items():
            if set(known) == set(integers):
                raise ConfigError(
                    f'labels: "{other}" and "{name}" are the same integers '
                    f"({', '.join(str(integer) for integer in known)})",
                    hint="leave one of them out",
                )
        regions[name] = integers
    return regions


def default_order(regions: RegionIntegers) -> tuple[str, ...] | None:
    """Return the order in which regions are painted: the larger ones first, else as written.

    None where every label is one integer: then the most probable one wins.
    """
    if all(len(integers) == 1 for integers in regions.values()):
        return None
    return tuple(sorted(regions, key=lambda name: -len(regions[name])))


def read_order(
    given: Sequence[OrderEntry],
    regions: RegionIntegers,
    *,
    by_name: bool,
    ignore_label: int | None = None,
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return the labels in painting order, and the integers that are given to some of them.

    Integers alone are nnU-Net's `regions_class_order`: the k-th label, as written, paints the
    k-th of them. Where labels are the name of each integer, an integer stands for its label.

    Args:
        given: the entries.
        regions: regions of the labels that are painted.
        by_name: whether labels are written as the integers of each name.
        ignore_label: integer that belongs to no label.

    Raises:
        ConfigError: a label is unknown, missing or listed twice, or is given an integer that is
            not its own.
    """
    names = {integers[0]: name for name, integers in regions.items() if len(integers) == 1}
    entries: list[OrderEntry] = list(given)
    painted: dict[str, int] = {}
    integers_alone = [type(entry) is int for entry in entries]
    if by_name and entries and all(integers_alone):
        if len(entries) != len(regions):
            raise ConfigError(
                f"region_order: {len(entries)} integer{'s' * (len(entries) != 1)} for "
                f"{len(regions)} labels "
                f"({', '.join(regions)})",
                hint="give the integer that each label paints, in the order of `labels`",
            )
        entries = [{name: entry} for name, entry in zip(regions, entries, strict=True)]  # type: ignore[dict-item]
    order: list[str] = []
    for entry in entries:
        if isinstance(entry, Mapping):
            name, integer = _pair(entry, by_name=by_name)
            _require_label(name, regions)
            _require_own(name, integer, regions, ignore_label, strict=all(integers_alone))
            painted[name] = integer
        elif isinstance(entry, str):
            name = entry
        elif type(entry) is int and not by_name:
            name = names.get(entry, str(entry))
        else:
            raise ConfigError(
                f"region_order: {entry!r} is not the name of a label",
                hint="list the labels in painting order, such as [whole, core]; integers are "
                "listed without names, one per label",
            )
        _require_label(name, regions)
        if name in order:
            raise ConfigError(f'region_order: "{name}" is listed twice')
        order.append(name)
    missing = [name for name in regions if name not in order]
    if missing:
        raise ConfigError(
            f"region_order: {' and '.join(f'{chr(34)}{name}{chr(34)}' for name in missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing",
            hint="list every label once, in painting order: later ones win",
        )
    return tuple(order), painted


def _pair(entry: Mapping[str, int], *, by_name: bool) -> tuple[str, int]:
    if not by_name or len(entry) != 1 or not all(type(value) is int for value in entry.values()):
        raise ConfigError(
            f"region_order: {dict(entry)!r} is not a label with the integer that it paints",
            hint="such as {core: 1}, where `labels` lists the integers of each name",
        )
    ((name, integer),) = entry.items()
    return name, integer


def _require_label(name: str, regions: RegionIntegers) -> None:
    if name not in regions:
        raise ConfigError(f'region_order: no label "{name}"', hint=suggest(name, regions))


def _require_own(
    name: str, integer: int, regions: RegionIntegers, ignore_label: int | None, *, strict: bool
) -> None:
    """Refuse an integer of other labels; in a list of integers alone, also an unknown one."""
    own = regions[name]
    foreign = {value for integers in regions.values() for value in integers} | {0, ignore_label}
    if integer in own or (not strict and integer > 0 and integer not in foreign):
        return
    shown = ", ".join(str(value) for value in own)
    raise ConfigError(
        f'region_order: {integer} is not an integer of "{name}" ({shown})',
        hint="each label paints one of its own integers",
    )


def painted_integers(
    regions: RegionIntegers, chosen: Mapping[str, int], *, may_overlap: bool
) -> dict[str, int]:
    """Return the one integer that each label paints, none of them twice.

    It is the integer that the fewest labels share, the first such one as written: with whole
    [1, 2, 4], core [1, 4] and enhancing 4 these are 2, 1 and 4. Where labels exclude each other,
    one whose integers all belong to smaller ones is painted over everywhere, and has none.

    Raises:
        ConfigError: no integer is left to a label, or two labels are given the same.
    """
    sharing = [integer for integers in regions.values() for integer in integers]
    result = dict(chosen)
    for name, integer in chosen.items():
        twins = [other for other, value in chosen.items() if value == integer and other != name]
        if twins:
            raise ConfigError(
                f'region_order: "{name}" and "{twins[0]}" both paint {integer}',
                hint="give each an integer of its own",
            )
    for name in sorted(regions, key=lambda label: len(regions[label])):
        if name in result:
            continue
        free = [integer for integer in regions[name] if integer not in result.values()]
        if free:
            result[name] = min(free, key=sharing.count)
        elif may_overlap:
            shown = ", ".join(str(integer) for integer in regions[name])
            raise ConfigError(
                f'labels: every integer of "{name}" ({shown}) is painted by another label, so '
                "that the label map cannot show it",
                hint=f"give it an integer of its own: region_order: [{{{name}: INTEGER}}, ...]",
            )
    return result


def read_thresholds(
    given: float | Mapping[str, float], names: Sequence[str], activation: str
) -> dict[str, float]:
    """Return the probability above which each label is predicted, where it is not 1/2.

    Args:
        given: one number, or one for some labels.
        names: names of the labels.
        activation: only sigmoid has thresholds.

    Raises:
        ConfigError: a label is unknown, a number is not between 0 and 1, or the activation is
            softmax.
    """
    if activation == "softmax":
        raise ConfigError(
            "threshold: under softmax the largest probability is predicted, without a threshold",
            hint="leave it out, or use activation: sigmoid",
        )
    values = given if isinstance(given, Mapping) else dict.fromkeys(names, given)
    for name, value in values.items():
        if name not in names:
            raise ConfigError(f'threshold: no label "{name}"', hint=suggest(name, names))
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1:
            place = f' of "{name}"' if isinstance(given, Mapping) else ""
            raise ConfigError(f"threshold{place}: must be between 0 and 1 (found {value!r})")
    return {name: float(value) for name, value in values.items() if value != 0.5}
