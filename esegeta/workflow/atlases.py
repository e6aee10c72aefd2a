"""From the config's atlases to regions on the grid of each case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from esegeta.config import RunConfig
from esegeta.config.schema import OWN_LABELS
from esegeta.errors import ConfigError
from esegeta.explain import Atlas
from esegeta.model import Labels
from esegeta.targets import Scene
from esegeta.volume import Case, Preprocess, Reading, check_case, read_label_map
from esegeta.workflow.checks import blamed_on
from esegeta.workflow.files import image_sha256


@dataclass(frozen=True, eq=False)
class AtlasPlan:
    """One entry of the config's atlases.

    Args:
        name: as it stands in the table.
        source: `prediction`, `label`, or a path in which `{case}` stands for the case.
        names: of its integers.
        config: for paths.
    """

    name: str
    source: str
    names: Mapping[int, str]
    config: RunConfig

    def file(self, case: Case) -> Path | None:
        """Return the file of a case, or None where the atlas is the prediction."""
        if self.source == "label":
            return case.label
        if self.source == "prediction":
            return None
        return self.config.find_file(self.source.replace("{case}", case.name))

    def fingerprint(self, case: Case) -> object:
        """Return all that decides the rows of a case, as plain values."""
        path = self.file(case)
        return {
            "name": self.name,
            "source": self.source if self.source in OWN_LABELS else "file",
            "names": {str(integer): name for integer, name in self.names.items()},
            "sha256": image_sha256(path) if path is not None and path.is_file() else None,
        }

    def load(self, scene: Scene, case: Case, preprocess: Preprocess) -> Atlas:
        """Return the regions on the scene's grid."""
        if self.source == "prediction":
            integers = scene.labels.label_map(scene.logits)[0]
        elif self.source == "label":
            integers = scene.require_truth(f"aggregate: {self.name}")
        else:
            path = self.file(case)
            assert path is not None
            integers = read_label_map(path, scene.volume, preprocess)
        return Atlas(self.name, integers.to(scene.volume.data.device), self.names)


def plan_atlases(
    config: RunConfig,
    labels: Labels,
    cases: list[Case],
    reading: Reading,
) -> tuple[AtlasPlan, ...] | None:
    """Check the config's atlases against the image of every case and return their plans.

    None where the config says nothing of `aggregate`; an empty tuple aggregates by channel alone.

    Raises:
        ConfigError: a case lacks the ground truth that is an atlas.
        DataError: a file is missing, or lies on another grid than the image.
    """
    keys = config.keys.aggregate
    if keys is None:
        return None
    plans = []
    for name, source in keys.atlases.items():
        own = {integer: text for integer, text in labels.names.items() if integer != 0}
        names = own if source in OWN_LABELS else keys.names.get(name, {})
        plan = AtlasPlan(name, source, names, config)
        with blamed_on(config, "aggregate", "atlases", name):
            for case in cases:
                path = plan.file(case)
                if path is None and source == "label":
                    raise ConfigError(
                        f"aggregate.atlases.{name}: case {case.name} has no ground truth",
                        hint="give every case a `label:` file, or leave this atlas out",
                    )
                if path is not None:
                    check_case(replace(case, label=path), reading)
        plans.append(plan)
    return tuple(plans)
