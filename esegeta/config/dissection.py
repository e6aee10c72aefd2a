"""The keys of `dissection`: which layers and concepts, at which threshold, against what."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from esegeta.axes import Corners
from esegeta.config.keys import Keys, Name, NoTwins
from esegeta.errors import suggest
from esegeta.model import ALL_LAYERS

KINDS = (
    "labels",
    "boundary_of",
    "distance_to",
    "not_of",
    "any_of",
    "all_of",
    "half",
    "edges",
    "bright",
    "textured",
    "mask",
    "boxes",
    "points",
    "images",
)
"""Keys that say what a concept is; each has one of them."""

PARTNERS = {
    "within_mm": ("boundary_of",),
    "mm": ("distance_to",),
    "of": ("half",),
    "sigma_mm": ("edges", "textured"),
    "channel": ("edges", "bright", "textured"),
    "values": ("mask",),
    "radius_mm": ("points",),
}
"""Keys that belong to another key, and that key."""

NEEDED = {"boundary_of": "within_mm", "distance_to": "mm", "points": "radius_mm"}
"""Keys that another one needs."""


def _short_form(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a concept is an integer, a list of integers, or a block of keys")
    if isinstance(value, int):
        return {"labels": [value]}
    if isinstance(value, list):
        return {"labels": value}
    if isinstance(value, str):
        raise ValueError(
            "a concept is the integer of a label, a list of them, or a block such as "
            "{boundary_of: liver, within_mm: 3}"
        )
    if isinstance(value, dict) and "masks" in value and "mask" not in value:
        return {"mask" if key == "masks" else key: item for key, item in value.items()}
    return value


class ConceptBlock(Keys):
    """One concept: exactly one of KINDS, with its partners."""

    labels: list[int] | None = Field(default=None, min_length=1)
    boundary_of: Name | None = None
    within_mm: float | None = Field(default=None, gt=0)
    distance_to: Name | None = None
    mm: tuple[float, float] | None = None
    not_of: Name | None = None
    any_of: list[Name] | None = Field(default=None, min_length=1)
    all_of: list[Name] | None = Field(default=None, min_length=1)
    half: Literal["left", "right", "posterior", "anterior", "inferior", "superior"] | None = None
    of: Name | None = None
    edges: float | None = Field(default=None, gt=0, lt=1)
    sigma_mm: float = Field(default=0.0, ge=0)
    channel: int = Field(default=0, ge=0)
    bright: float | None = Field(default=None, gt=0, lt=1)
    textured: float | None = Field(default=None, gt=0, lt=1)
    mask: str | None = None
    boxes: dict[str, list[Corners]] | None = Field(default=None, min_length=1)
    points: dict[str, list[tuple[float, ...]]] | None = Field(default=None, min_length=1)
    radius_mm: float | None = Field(default=None, gt=0)
    images: str | None = Field(default=None, min_length=1)
    values: list[int] = Field(default_factory=list)
    category: str = ""

    @model_validator(mode="after")
    def _one_kind(self) -> ConceptBlock:
        given = [key for key in KINDS if getattr(self, key) is not None]
        if len(given) != 1:
            found = ", ".join(given) or "none of them"
            raise ValueError(f"give one of {', '.join(KINDS)}; this has {found}")
        for key, partner in PARTNERS.items():
            if key in self.model_fields_set and given[0] not in partner:
                owners = "` or `".join(partner)
                raise ValueError(f"`{key}` belongs to `{owners}`, not to `{given[0]}`")
        needed = NEEDED.get(given[0])
        if needed is not None and getattr(self, needed) is None:
            raise ValueError(f"`{given[0]}` needs `{needed}`")
        if self.mm is not None and not 0 <= self.mm[0] < self.mm[1]:
            raise ValueError("mm: give the nearer distance first, such as [5, 15]")
        for start, stop in (box for boxes in (self.boxes or {}).values() for box in boxes):
            if len(start) != len(stop) or not all(map(int.__lt__, start, stop)):
                raise ValueError(
                    "boxes: each is [first, one past the last] voxel, the first must be below"
                )
        return self

    @property
    def reads_grey(self) -> bool:
        """Whether it is told by the grey values of a channel."""
        return any(one is not None for one in (self.edges, self.bright, self.textured))

    @property
    def sources(self) -> list[str]:
        """Names of concepts or labels that it is made from."""
        single = (self.boundary_of, self.distance_to, self.not_of, self.of)
        lists = (self.any_of, self.all_of)
        named = [name for name in single if name is not None]
        return named + [name for names in lists for name in names or ()]


ConceptKeys = Annotated[ConceptBlock, BeforeValidator(_short_form)]


KindOfChance = Literal["surrogate", "exchange", "shift", "permutation"]


class ChanceKeys(Keys):
    """The null distribution that overlaps are compared with."""

    kind: KindOfChance = "surrogate"
    samples: int = Field(default=1000, ge=1)


class PerImageKeys(Keys):
    """Each image judged by itself: M = {a >= T} against the concept, detected if IoU >= c."""

    threshold: Literal["dataset", "image"] = "dataset"
    min_iou: float = Field(default=0.1, ge=0, le=1)


class PictureKeys(Keys):
    """Which units are drawn and written as masks."""

    images: int = Field(default=3, ge=1)
    units: int = Field(default=3, ge=0)
    masks: Literal["all", "none"] | list[str] | None = None


class AblationKeys(Keys):
    """Which units are switched off, and how often random ones are."""

    concepts: Literal["all"] | list[str] = "all"
    layers: Literal["all"] | list[str] = "all"
    units: int = Field(default=1, ge=1)
    draws: int = Field(default=20, ge=2)
    to: Literal["zero", "mean"] = "zero"


class TrailKeys(Keys):
    """How units influence each other, and the labels that they lead to."""

    labels: Literal["all"] | list[str] = "all"
    samples: int = Field(default=10000, ge=100)
    permutations: int = Field(default=200, ge=1)
    clusters: int = Field(default=4, ge=1)
    windows: int = Field(default=16, ge=1)
    to: Literal["zero", "mean"] = "mean"
    q_value: float = Field(default=0.05, gt=0, le=1)


def _on_or_off(value: Any) -> Any:
    if isinstance(value, bool):
        return {} if value else None
    return value


OnOrOff = BeforeValidator(_on_or_off)
"""`true` stands for a block of defaults, `false` for none."""


def _kind_of_chance(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value not in get_args(KindOfChance):
        raise ValueError(f'"{value}" is not known; {suggest(value, get_args(KindOfChance))}')
    return {"kind": value}


def _share(value: float) -> float:
    if not 0 < value < 1:
        raise ValueError(
            "should be greater than 0 and less than 1: a share of the activations, such as "
            "0.005 for the largest half percent"
        )
    return value


def layer_names(value: Any) -> Any:
    """Return the names of layers that a config or an option gives, if they are valid.

    Raises:
        ValueError: there is none, one is named twice or is not text, or `all` is not alone.
    """
    listed = value if isinstance(value, list) else [value]
    if not listed or "" in listed:
        raise ValueError("name a layer, or write `all`")
    for name in listed:
        if isinstance(name, (int, float)):
            raise ValueError(f'a layer\'s name is text; put it in quotes: "{name}"')
        if not isinstance(name, str):
            raise ValueError("a layer's name is text")
    if len(set(listed)) < len(listed):
        raise ValueError("a layer is named twice")
    if ALL_LAYERS in listed and len(listed) > 1:
        raise ValueError("`all` cannot be combined with names; leave out one or the other")
    return ALL_LAYERS if listed == [ALL_LAYERS] else value


class DissectionKeys(Keys):
    """Which units of which layers are which concepts."""

    layers: Annotated[str | list[str], BeforeValidator(layer_names)]
    concepts: Annotated[dict[Name, ConceptKeys], NoTwins] = Field(min_length=1)
    categories: dict[str, list[str]] = Field(default_factory=dict)
    member: int | None = Field(default=None, ge=1)
    quantile: Annotated[float, AfterValidator(_share)] = 0.005
    upsample: Literal["native", "upsampled"] = "native"
    min_iou: float = Field(default=0.04, ge=0, le=1)
    q_value: float = Field(default=0.05, gt=0, le=1)
    chance: Annotated[ChanceKeys, BeforeValidator(_kind_of_chance)] = ChanceKeys()
    holdout: bool = True
    per_image: Annotated[PerImageKeys | None, OnOrOff] = None
    figures: PictureKeys = PictureKeys()
    ablation: Annotated[AblationKeys | None, OnOrOff] = None
    trails: Annotated[TrailKeys | None, OnOrOff] = None
    memory_mb: float = Field(default=1024, gt=0)
    disk_mb: float = Field(default=4096, ge=0)

    @field_validator("concepts", mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError("name each concept, such as {liver: 3}")
        return value

    @field_validator("categories")
    @classmethod
    def _of_concepts(cls, value: dict[str, list[str]], info: Any) -> dict[str, list[str]]:
        concepts: dict[str, ConceptBlock] = info.data.get("concepts", {})
        seen: dict[str, str] = {}
        for category, names in value.items():
            for name in names:
                if name not in concepts:
                    raise ValueError(f'no concept "{name}"; {suggest(name, concepts)}')
                if seen.get(name, category) != category or concepts[name].category:
                    raise ValueError(f'concept "{name}" has two categories')
                seen[name] = category
        return value

    def category_of(self, name: str) -> str:
        """Return the category of a concept; empty where it is given none."""
        for category, names in self.categories.items():
            if name in names:
                return category
        return self.concepts[name].category
