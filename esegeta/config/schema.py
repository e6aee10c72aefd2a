"""The keys of a config, block by block."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BeforeValidator, Field, field_validator, model_validator

from esegeta.config.cluster import ClusterKeys
from esegeta.config.concepts import ConceptsKeys
from esegeta.config.data import DataKeys
from esegeta.config.dissection import DissectionKeys
from esegeta.config.examples import ExamplesKeys
from esegeta.config.features import FeatureKeys
from esegeta.config.inference import InferenceKeys
from esegeta.config.inspect import InspectKeys
from esegeta.config.keys import Keys, LabelInteger, Name, give_list
from esegeta.config.labels import LabelKeys, checked_colours
from esegeta.config.model import ModelKeys
from esegeta.config.prediction import EXPECTED_DICE, PredictionKey, PredictionKeys
from esegeta.config.similarity import SimilarityKeys
from esegeta.config.targets import TargetKeys
from esegeta.errors import suggest
from esegeta.explain import By
from esegeta.results_folder import ANALYSES
from esegeta.retraining import MapRank, RemovalMode, Schedule, loss_classes, optimizer_classes
from esegeta.volume import MapType, WrittenFormat

SCORES_ALONE = "scores"
"""What `write` says where maps are judged and not kept."""

OWN_LABELS = ("prediction", "label")
"""Atlases that need no file: the predicted labels, and the case's ground truth."""

WHOLE_IMAGE = "image"
"""The name of the whole image as one region, which every table begins with."""


class AggregateKeys(Keys):
    """The atlases that maps are summed over; without any, only channels."""

    atlases: dict[Name, str] = Field(default_factory=dict)
    names: dict[Name, dict[LabelInteger, str]] = Field(default_factory=dict)

    @field_validator("atlases")
    @classmethod
    def _not_the_image(cls, value: dict[str, str]) -> dict[str, str]:
        if WHOLE_IMAGE in value:
            raise ValueError(f'"{WHOLE_IMAGE}" stands for the whole image; choose another name')
        return value

    @field_validator("names")
    @classmethod
    def _of_atlases(
        cls, value: dict[str, dict[int, str]], info: object
    ) -> dict[str, dict[int, str]]:
        atlases: dict[str, str] = getattr(info, "data", {}).get("atlases", {})
        for name, regions in value.items():
            if name not in atlases:
                raise ValueError(f'no atlas "{name}"; {suggest(name, atlases)}')
            if atlases[name] in OWN_LABELS:
                raise ValueError(f'atlas "{name}" uses the names of `labels`; leave out its own')
            if len(set(regions.values())) < len(regions):
                raise ValueError(f'two regions of atlas "{name}" share a name')
        return value


class MapsKeys(Keys):
    """How maps come to the grid of the image's file; without `by`, as suits their meaning."""

    by: By | None = None


FillKind = Literal["zero", "mean", "minimum", "blur"]

Item = TypeVar("Item", int, float, str)


class FillKeys(Keys):
    """What takes the place of removed voxels."""

    kind: FillKind = "mean"
    sigma_mm: float = Field(default=10.0, gt=0)

    @model_validator(mode="after")
    def _width_of_a_blur(self) -> FillKeys:
        if "sigma_mm" in self.model_fields_set and self.kind != "blur":
            raise ValueError(f"`sigma_mm` belongs to kind: blur, not kind: {self.kind}")
        return self


def _fill_word(value: Any) -> Any:
    kinds = get_args(FillKind)
    if isinstance(value, str) and value not in kinds:
        raise ValueError(f'"{value}" is not known; {suggest(value, kinds)}')
    return {"kind": value} if isinstance(value, str) else value


class RetrainKeys(Keys):
    """Remove or keep what a method ranks highest, and train the network again from scratch."""

    modes: list[RemovalMode] = Field(default=["roar", "kar"], min_length=1)
    fractions: list[Annotated[float, Field(ge=0, le=1)]] = Field(
        default=[0.1, 0.3, 0.5, 0.7, 0.9], min_length=1
    )
    target: str | None = None
    rank_by: MapRank = "magnitude"
    baseline: Annotated[FillKeys, BeforeValidator(_fill_word)] = FillKeys()
    loss: str = "DiceCELoss"
    loss_args: dict[str, Any] = Field(default_factory=dict)
    optimizer: str = "AdamW"
    optimizer_args: dict[str, Any] = Field(default={"lr": 3e-3})
    schedule: Schedule = "cosine"
    iterations: int = Field(default=200, ge=1)
    batch_size: int = Field(default=8, ge=1)
    patch: Annotated[tuple[int, ...], give_list("[96, 96]")] | None = None
    seeds: list[Annotated[int, Field(ge=0)]] = Field(default=[0, 1, 2], min_length=1)
    folds: int = Field(default=3, ge=2)

    @field_validator("modes", "fractions", "seeds")
    @classmethod
    def _distinct(cls, value: list[Item]) -> list[Item]:
        for item in value:
            if value.count(item) > 1:
                raise ValueError(f"{item} is listed twice")
        return value

    @field_validator("loss")
    @classmethod
    def _known_loss(cls, value: str) -> str:
        return _one_of(value, loss_classes(), "monai.losses")

    @field_validator("optimizer")
    @classmethod
    def _known_optimizer(cls, value: str) -> str:
        return _one_of(value, optimizer_classes(), "torch.optim")

    @field_validator("patch")
    @classmethod
    def _patch_above_zero(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and (len(value) not in (2, 3) or min(value) < 1):
            raise ValueError("give two or three lengths above zero")
        return value


def _format_word(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _one_of(name: str, known: Mapping[str, Any], where: str) -> str:
    if name not in known:
        raise ValueError(f'{where} has no "{name}"; {suggest(name, known)}')
    return name


def _device_words(value: Any) -> Any:
    """Write a list of devices as the word that `--device` takes."""
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        return ",".join(value)
    return value


class Config(LabelKeys):
    """A whole experiment; methods and scores are built by their own tables."""

    version: Literal[1] = 1
    name: Name
    output: str = "results"
    dtype: MapType = "float32"
    scene: bool = True
    seed: int = Field(default=0, ge=0)
    device: Annotated[str, BeforeValidator(_device_words)] = "auto"
    model: ModelKeys
    data: DataKeys
    inference: InferenceKeys
    prediction: PredictionKey = PredictionKeys()
    expected_dice: float | None = Field(default=None, gt=0, le=1)
    targets: list[TargetKeys] = Field(default_factory=list, min_length=1)
    methods: list[Any] = Field(default_factory=list, min_length=1)
    scores: list[Any] = Field(default_factory=list)
    aggregate: AggregateKeys | None = None
    colors: dict[str, str] = Field(default_factory=dict)
    maps: MapsKeys = MapsKeys()
    write: Annotated[list[WrittenFormat], BeforeValidator(_format_word)] = Field(
        default=["nifti"], min_length=1
    )
    retrain: RetrainKeys | None = None
    dissection: DissectionKeys | None = None
    similarity: SimilarityKeys | None = None
    examples: ExamplesKeys | None = None
    features: FeatureKeys | None = None
    inspect: InspectKeys | None = None
    concepts: ConceptsKeys | None = None
    report: bool = False
    cluster: ClusterKeys | None = None

    @property
    def writes_dicom(self) -> bool:
        """Whether maps and predictions are DICOM objects too."""
        return "dicom" in self.write

    @property
    def keeps_maps(self) -> bool:
        """Whether maps are written, and not only what scores say of them."""
        return SCORES_ALONE not in self.write

    @property
    def missing_of_run(self) -> list[str]:
        """Blocks that a run needs and that are not given; `stands_alone` needs neither."""
        return [key for key in ("targets", "methods") if not getattr(self, key)]

    @property
    def stands_alone(self) -> list[str]:
        """Blocks that are given and need no run beside them."""
        return [key for key in ANALYSES if getattr(self, key) is not None]

    @property
    def least_dice(self) -> float:
        """The Dice that a prediction must reach with the one that is expected."""
        given = (self.expected_dice, self.prediction.expected_dice)
        return next((value for value in given if value is not None), EXPECTED_DICE)

    @field_validator("colors")
    @classmethod
    def _colours_of_labels(cls, value: dict[str, str], info: Any) -> dict[str, str]:
        return checked_colours(value, info)

    @field_validator("write")
    @classmethod
    def _nifti_among_formats(cls, value: list[WrittenFormat]) -> list[WrittenFormat]:
        for one in value:
            if value.count(one) > 1:
                raise ValueError(f"{one} is listed twice")
        if SCORES_ALONE in value:
            if len(value) > 1:
                raise ValueError("scores must be the only entry: it means that no maps are written")
        elif "nifti" not in value:
            raise ValueError(
                "it must contain nifti, from which tables and figures are made; or scores alone, "
                "for no maps"
            )
        return value

    @field_validator("expected_dice")
    @classmethod
    def _given_once(cls, value: float | None, info: Any) -> float | None:
        block = info.data.get("prediction")
        if value is not None and block is not None and block.expected_dice is not None:
            raise ValueError("it is given twice; leave out prediction.expected_dice")
        return value
