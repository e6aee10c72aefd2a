"""Maps of units, case by case: computed once and kept on disk, or computed again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from esegeta.axes import Batch
from esegeta.dissection.parts import BYTES_OF_FLOAT, MB
from esegeta.predict import UnitMaps, Units, blend_units
from esegeta.volume import Case
from esegeta.workflow.cache import fingerprint
from esegeta.workflow.cases import hash_inputs
from esegeta.workflow.dissect.build import Dissection
from esegeta.workflow.dissect.scratch import keep_scratch, read_scratch
from esegeta.workflow.fingerprint import prediction_parts


class MapSource:
    """Hands out the maps of all units of a case, a part at a time.

    Units go through the network together as far as memory allows. Maps are kept in a folder until
    they fill the disk space that is allowed; cases beyond that are computed again when they are
    asked for again.

    Args:
        dissection: dissection whose units are mapped.
        folder: folder where maps are kept.
    """

    def __init__(self, dissection: Dissection, folder: Path) -> None:
        self._dissection = dissection
        self._folder = folder
        self._room_mb = dissection.keys.disk_mb
        self._prints: dict[str, str] = {}
        self._counted: set[Path] = set()
        self._loads = _loads(dissection)

    def fingerprint(self, case: Case) -> str:
        """Return the fingerprint of what decides the maps of a case."""
        if case.name not in self._prints:
            inputs = hash_inputs(Case(case.name, case.images))
            parts = [(part.layer, part.first, part.stop) for part in self._dissection.parts.parts]
            self._prints[case.name] = fingerprint(
                {
                    "prediction": prediction_parts(self._dissection.basis, inputs),
                    "parts": parts,
                    "loads": [len(load) for load in self._loads],
                }
            )
        return self._prints[case.name]

    def maps(self, case: Case, image: Callable[[], Batch]) -> Iterator[UnitMaps]:
        """Yield the maps of a case, by part, on the device of its image.

        Args:
            case: case to map.
            image: makes the case's image `1 C *S`; not called where maps are kept.
        """
        dissection = self._dissection
        device = dissection.basis.device
        layers = {layer.name: layer for layer in dissection.layers}
        key = self.fingerprint(case)
        for number, load in enumerate(self._loads):
            path = self._folder / case.name / f"{number}.safetensors"
            found = read_scratch(path, key)
            if found is not None:
                self._count(path)
                for units in load:
                    data = found.pop(_name(units)).to(device)
                    grid = dissection.grid(layers[units.layer], case.name)
                    yield UnitMaps(units, grid, data, dissection.images[case.name])
                continue
            made = blend_units(dissection.watched, image(), load)
            if self._fits(made):
                keep_scratch(path, key, {_name(item.units): item.data for item in made})
                self._count(path)
            yield from (replace(item, image=dissection.images[case.name]) for item in made)

    def num_windows(self, case: Case) -> int:
        """Return the largest number of windows that the maps of a case may take."""
        windows = self._dissection.watched.plan.lay(self._dissection.shapes[case.name])
        return len(windows) * len(self._loads)

    def _fits(self, made: list[UnitMaps]) -> bool:
        size = sum(item.data.numel() for item in made) * BYTES_OF_FLOAT / MB
        return size <= self._room_mb

    def _count(self, path: Path) -> None:
        if path not in self._counted:
            self._counted.add(path)
            self._room_mb -= path.stat().st_size / MB


def _loads(dissection: Dissection) -> list[list[Units]]:
    """Return which parts go through the network together: as many as there is room for."""
    layers = {layer.name: layer for layer in dissection.layers}
    loads: list[list[Units]] = [[]]
    filled = 0.0
    for part in dissection.parts.parts:
        layer = layers[part.layer]
        positions = max(dissection.grid(layer, case).num_positions for case in dissection.shapes)
        size = len(part) * positions * BYTES_OF_FLOAT / MB
        if loads[-1] and filled + size > dissection.room():
            loads.append([])
            filled = 0.0
        loads[-1].append(part)
        filled += size
    return loads


def _name(units: Units) -> str:
    return f"{units.layer}[{units.first}:{units.stop}]"
