"""What differs between two yardsticks, file by file, with the first difference."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from itertools import zip_longest
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image

from tests.golden.canonical import digest_of

RECORD = "golden.json"


def write_record(
    folder: Path,
    files: dict[str, dict[str, Any]],
    exits: dict[str, int],
    *,
    is_part: bool = False,
) -> None:
    """Write the digests and contents of a yardstick, and how its commands ended.

    Args:
        folder: of the yardstick.
        files: canonical content of every file of results, by name.
        exits: exit code of every command.
        is_part: whether only some of the commands were run; it is compared where both have results.
    """
    digests = {name: digest_of(content) for name, content in files.items()}
    record = {"is_part": is_part, "exits": exits, "digests": digests, "contents": files}
    (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def differences(first: Path, second: Path, excepted: Sequence[str] = ()) -> Iterator[str]:
    """Yield a line for every command and file that differs between two yardsticks.

    Args:
        first: the folder of the yardstick before.
        second: the folder of the yardstick after.
        excepted: shell patterns of file names that may differ; `NAME::TEXT` of lines of a file
            that may, wherever the text stands in the line.
    """
    old, new = _read(first), _read(second)
    if old["is_part"] or new["is_part"]:
        old, new = _common(old, new), _common(new, old)
    for command in old["exits"] | new["exits"]:
        codes = [record["exits"].get(command, "not run") for record in (old, new)]
        if codes[0] != codes[1]:
            yield f"exit code of {command}: {codes[0]}, then {codes[1]}"
    whole = [pattern for pattern in excepted if "::" not in pattern]
    for name in sorted(old["contents"].keys() | new["contents"].keys()):
        if any(fnmatch(name, pattern) for pattern in whole):
            continue
        if name not in new["contents"]:
            yield f"missing: {name}"
        elif name not in old["contents"]:
            yield f"extra: {name}"
        elif old["digests"][name] != new["digests"][name]:
            texts = [rest for pattern, _, rest in _split(excepted) if fnmatch(name, pattern)]
            pair = (old["contents"][name], new["contents"][name])
            what = _difference(*pair, texts, (first / "lab" / name, second / "lab" / name))
            if what:
                yield f"differs: {name}\n    {what}"


def _read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / RECORD).read_text("utf-8"))


def _common(record: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return what a record has of commands that both ran, and of folders that both filled."""
    folders = {_folder(name) for name in other["contents"]}
    kept = {name: item for name, item in record["contents"].items() if _folder(name) in folders}
    exits = {key: code for key, code in record["exits"].items() if key in other["exits"]}
    return record | {"contents": kept, "exits": exits}


def _folder(name: str) -> str:
    """Return the first two parts of a name: one experiment's results."""
    return "/".join(name.split("/")[:2])


def _split(patterns: Sequence[str]) -> list[tuple[str, str, str]]:
    return [pattern.partition("::") for pattern in patterns if "::" in pattern]


def _difference(
    old: dict[str, Any], new: dict[str, Any], texts: Sequence[str], paths: tuple[Path, Path]
) -> str:
    """Return the first difference of two contents, or nothing if all of it is excepted."""
    if "lines" in old and "lines" in new:
        return _first_line(
            *[
                [line for line in content["lines"] if not any(text in line for text in texts)]
                for content in (old, new)
            ]
        )
    fields = [key for key in old | new if old.get(key) != new.get(key)]
    parts = [
        f"{key}: {old.get(key)} -> {new.get(key)}"
        for key in fields
        if key not in ("sha256", "tensors")
    ]
    if "sha256" in fields:
        parts.append(_how_far(old["kind"], *paths))
    if "tensors" in fields:
        pairs = (old["tensors"], new["tensors"])
        names = pairs[0].keys() | pairs[1].keys()
        changed = sorted(key for key in names if pairs[0].get(key) != pairs[1].get(key))
        parts.append(f"tensors that differ: {', '.join(changed)}")
    return "; ".join(parts)


def _first_line(old: list[str], new: list[str]) -> str:
    pairs = list(zip_longest(old, new))
    changed = [place for place, (before, after) in enumerate(pairs) if before != after]
    if not changed:
        return ""
    before, after = pairs[changed[0]]
    return (
        f"{len(changed)} of {len(pairs)} lines, first at {changed[0] + 1}:\n"
        f"    - {'(end)' if before is None else before.strip()[:300]}\n"
        f"    + {'(end)' if after is None else after.strip()[:300]}"
    )


def _how_far(kind: str, first: Path, second: Path) -> str:
    """Return how far the values of two arrays are apart, if the files are still there."""
    if not (first.is_file() and second.is_file()) or kind not in ("nifti", "png"):
        return "other bytes"
    one, other = (_values(kind, path) for path in (first, second))
    if one.shape != other.shape:
        return "other shape"
    apart = np.abs(one - other)
    scale = np.nanmax(np.abs(one), initial=0)
    return (
        f"{np.count_nonzero(~((one == other) | (np.isnan(one) & np.isnan(other))))} of {one.size} "
        f"values, at most {np.nanmax(apart, initial=0):.3g} apart; largest value {scale:.3g}"
    )


def _values(kind: str, path: Path) -> np.ndarray:
    if kind == "nifti":
        return np.asarray(nib.load(path).dataobj, dtype=np.float64)
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGBA"), dtype=np.float64)
