"""The keys of a target: what of the prediction, over which voxels, reduced how."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from esegeta.config.keys import Keys, TargetName

WHOLE_MAP = ("dice", "volume_ml")
"""Quantities of the whole map: one number, not one per voxel."""


def default_region(of: str) -> str:
    """Return the region that a quantity is taken over where none is given."""
    return "all" if of in (*WHOLE_MAP, "entropy", "unit") else "predicted"


Over = Literal[
    "predicted",
    "label",
    "false_positive",
    "false_negative",
    "component",
    "boundary",
    "roi",
    "box",
    "point",
    "otsu",
    "all",
]

REGION_KEYS = {
    "component": "component",
    "min_volume_ml": "component",
    "within_mm": "boundary",
    "roi": "roi",
    "box": "box",
    "point": "point",
}
"""Keys that belong to one region only."""

UNIT_KEYS = ("layer", "channel")
"""Keys that belong to `of: unit`, which needs both."""

LABELLESS = ("roi", "box", "point", "all")
"""Regions without a label."""


class TargetKeys(Keys):
    """What of the prediction is explained, over which voxels, reduced how."""

    name: TargetName | None = None
    label: str | int | None = None
    of: Literal[
        "logit",
        "probability",
        "margin",
        "log_probability",
        "entropy",
        "dice",
        "volume_ml",
        "unit",
    ] = "logit"
    layer: str | None = None
    channel: int | None = Field(default=None, ge=0)
    over: Over = "predicted"
    reduce: Literal["sum", "mean"] = "sum"
    mask: Literal["frozen", "live"] = "frozen"
    component: Literal["largest", "each"] | Annotated[int, Field(ge=1)] = "largest"
    min_volume_ml: float = Field(default=0.0, ge=0)
    within_mm: float = Field(default=3.0, gt=0)
    roi: str | None = None
    box: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    point: tuple[float, ...] | None = None
    reference: Literal["label", "predicted"] = "label"
    combine: dict[str, float] | None = None

    @model_validator(mode="before")
    @classmethod
    def _infer_over(cls, values: Any) -> Any:
        """A key of one region implies that region; whole-map quantities are over all voxels."""
        if not isinstance(values, dict) or values.get("over") is not None:
            return values
        implied = [region for key, region in REGION_KEYS.items() if values.get(key) is not None]
        if implied:
            return {**values, "over": implied[0]}
        if values.get("combine") is not None:
            return values
        return {**values, "over": default_region(str(values.get("of")))}

    @model_validator(mode="after")
    def _consistent(self) -> TargetKeys:
        given = self.model_fields_set
        if self.combine is not None:
            extra = given - {"name", "combine"}
            if extra:
                raise ValueError(f"combine takes no other key: {', '.join(sorted(extra))}")
            if not self.combine:
                raise ValueError("combine names no target; write combine: {NAME: COEFFICIENT}")
            return self
        self._check_unit()
        if self.label is None and self.of != "unit":
            raise ValueError("`label` is missing: the name or integer of a label")
        for key, region in REGION_KEYS.items():
            if key in given and self.over != region:
                raise ValueError(f"`{key}` belongs to over: {region}, not over: {self.over}")
        for region in ("roi", "box", "point"):
            if self.over == region and getattr(self, region) is None:
                raise ValueError(f"over: {region} needs the key `{region}`")
        if self.box is not None and not all(a < b for a, b in zip(*self.box, strict=False)):
            raise ValueError(
                "`box` is [first, one past the last]: each start must be below its stop"
            )
        if self.of in WHOLE_MAP:
            for key, usual in (("reduce", "sum"), ("mask", "frozen")):
                if getattr(self, key) != usual:
                    raise ValueError(
                        f"of: {self.of} describes the whole map; it takes no {key}: "
                        f"{getattr(self, key)}"
                    )
        if self.mask == "live" and self.over in ("label", "roi", "box", "point", "all"):
            is_default = self.of == "entropy" and self.over == "all"
            default = " (the default for entropy)" if is_default else ""
            raise ValueError(
                f"mask: live has no effect over: {self.over}{default}, which never changes"
            )
        if "reference" in given and self.of != "dice":
            raise ValueError("`reference` belongs to of: dice")
        if self.min_volume_ml > 0 and self.component != "each":
            raise ValueError(
                f"`min_volume_ml` belongs to component: each, not component: {self.component}"
            )
        if self.component == "each" and self.of in WHOLE_MAP:
            raise ValueError(f"of: {self.of} cannot be split into components")
        return self

    def _check_unit(self) -> None:
        if self.of != "unit":
            for key in UNIT_KEYS:
                if getattr(self, key) is not None:
                    raise ValueError(f"`{key}` belongs to of: unit, not of: {self.of}")
            return
        missing = [f"`{key}`" for key in UNIT_KEYS if getattr(self, key) is None]
        if missing:
            raise ValueError(
                f"of: unit needs {' and '.join(missing)}: the name of a layer, "
                "and a channel of its output"
            )
        if self.label is None and self.over not in LABELLESS:
            raise ValueError(f"of: unit over: {self.over} needs a `label`, for the region")
        if self.mask == "live":
            raise ValueError("of: unit cannot have mask: live; its region never changes")

    @property
    def shown_name(self) -> str:
        """The name; where none is given, the label, or the layer and channel of a unit."""
        if self.name is not None:
            return self.name
        if self.of == "unit":
            return f"{self.layer}-{self.channel}"
        return str(self.label) if self.label is not None else "combined"
