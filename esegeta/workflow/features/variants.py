"""Which pictures are made of an objective: the config's own, and those it is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from esegeta.config.features import FeatureKeys

OWN = "picture"
"""The picture that the keys themselves ask for."""

TITLES = {
    OWN: "as configured",
    "simple_mean": "simple AM\nfrom the mean",
    "simple_class_mean": "simple AM\nfrom the class mean",
    "density": "AM with density\nfrom the class mean",
    "code": "AM in code space\nfrom the class mean",
}


@dataclass(frozen=True)
class Variant:
    """One way to make a picture.

    Args:
        name: of it.
        parametrisation: which numbers are free.
        start: the first picture.
        prior: what it pays for.
        label: whose mean patch it starts from, where it does.
        is_plain: without transformations, smoothing and alpha norm, as the classical ways are.
    """

    name: str
    parametrisation: str
    start: str
    prior: str
    label: str
    is_plain: bool = False

    @property
    def title(self) -> str:
        """What stands above it in figures."""
        return TITLES[self.name]

    def describe(self) -> dict[str, Any]:
        """Return it as plain values."""
        starts_at_label = self.start == "class_mean"
        return {
            "parametrisation": self.parametrisation,
            "start": self.start,
            **({"start_label": self.label} if starts_at_label else {}),
            "prior": self.prior,
        }


def variants_of(keys: FeatureKeys, label: str) -> list[Variant]:
    """Return the config's own way, and the classical ones that are asked for.

    Source: Montavon et al. 2018, "Methods for interpreting and understanding deep neural
    networks", figure 4: simple AM from the mean and from class means, AM with a density, and in
    the code space of a generator.
    """
    own = Variant(OWN, keys.parametrisation, keys.start, keys.prior, label)
    classical = {
        "simple_mean": ("voxels", "mean", "l2"),
        "simple_class_mean": ("voxels", "class_mean", "l2"),
        "density": ("voxels", "class_mean", "expert"),
        "code": ("code", "class_mean", "code"),
    }
    others = [Variant(name, *classical[name], label, is_plain=True) for name in keys.compare]
    return [own, *others]
