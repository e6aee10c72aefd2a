"""What each field of a record must be: one schema for all who read what a command has written.

Anybody may have written the file. What is not as it must be is told by the first field that is
not, and nobody looks further into it. Fields that nobody reads may hold anything.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from esegeta.errors import RunError
from esegeta.plain_json import parse_json

Values = dict[str, Any]
Texts = dict[str, str]
Number = float | None
Point = Annotated[list[float], Field(min_length=3, max_length=3)]


class Told(BaseModel):
    """What is read of a JSON file; further keys are allowed."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class ScoreTold(Told):
    """A row of scores."""

    case: str
    target: str
    method: str
    score: str
    value: Number
    better: str


class CurveTold(Told):
    """A curve behind a score."""

    score: str
    curve: str
    x_label: str
    y_label: str
    x: list[float]
    y: list[Number]
    ticks: list[str] | None = None

    @model_validator(mode="after")
    def _same_lengths(self) -> CurveTold:
        if not len(self.x) == len(self.y) == len(self.ticks or self.x):
            raise ValueError("a curve has as many values as places")
        return self


class RegionTold(Told):
    """What a map holds in a region."""

    atlas: str = ""
    region: str = ""
    channel: str = ""
    share: Number = None
    signed_sum: Number = None
    volume_ml: Number = None
    per_ml: Number = None


class DisplayTold(Told):
    """How a map is shown."""

    high: Number = None
    low: Number = None
    position_mm: Point | None = None


class FactsTold(Told):
    """How a map came about."""

    seconds: Number = None
    active_windows: int | None = None
    num_windows: int | None = None
    completeness_relative: Number = None


class LayerTold(Told):
    """A map on the grid of a layer."""

    layer: str = ""
    unit: str = ""


class GridTold(Told):
    """How a map came to the grid of its file."""

    resampling: str = ""


class MapTold(Told):
    """The sidecar of a map."""

    method: str = ""
    parameters: Values = {}
    target: str = ""
    target_facts: Values = {}
    unit: str = ""
    sign: str = ""
    facts: FactsTold = FactsTold()
    grid: GridTold = GridTold()
    display: DisplayTold = DisplayTold()
    channels: list[str] = []
    colours: list[str] | None = None
    warnings: list[str] = []
    doubts: list[str] = []
    prediction_warnings: list[str] = []
    chance_warnings: list[str] = []
    scores: list[ScoreTold] = []
    score_reasons: Texts = {}
    curves: list[CurveTold] = []
    regions: list[RegionTold] = []
    layer_maps: dict[str, LayerTold] = {}
    place_mm: Point | None = None
    files: list[str] = []


class PredictionTold(Told):
    """The sidecar of a prediction."""

    warnings: list[str] = []
    notes: list[str] = []
    inputs_sha256: Texts = {}


class TaskTold(Told):
    """How a task of a run ended."""

    case: str = ""
    target: str = ""
    method: str = ""
    status: str = ""
    message: str | None = None
    warnings: list[str] | None = None
    degenerate: bool = False


class DataTold(Told):
    """The block `data` of a config, as far as it is read by itself."""

    preprocess: Values | None = None


class InferenceTold(Told):
    """The block `inference` of a config, likewise."""

    window: list[int] | None = None


class NamedTold(Told):
    """A target, method or score of a config."""

    name: str | None = None
    id: str | None = None


class ConfigTold(Told):
    """The resolved config of a run."""

    name: str | None = None
    data: DataTold | None = None
    inference: InferenceTold | None = None
    targets: list[NamedTold] | None = None
    methods: list[NamedTold | str] | None = None
    scores: list[NamedTold | str] | None = None


class NotesTold(Told):
    """What the records of all commands share."""

    config: ConfigTold | None = None
    config_file: str | None = None
    notes: list[str] | None = None
    files: list[str] | None = None
    inputs_sha256: Texts | None = None
    weights_sha256: str | list[str] | None = None
    versions: Values | None = None
    device: Values | None = None
    network: Values | None = None
    state: str | None = None


class RunTold(NotesTold):
    """run.json."""

    command: str | None = None
    methods: dict[str, Values] | None = None
    scores: dict[str, Values] | None = None
    units: list[TaskTold] | None = None
    predictions: list[TaskTold] | None = None
    stale: list[str] | None = None


class FaultTold(Told):
    """Why a task failed, in a journal."""

    model_config = ConfigDict(extra="forbid")
    message: str
    is_bug: bool = False
    traceback: str = ""
    is_degenerate: bool = False


class EndedTold(Told):
    """A line of a journal: how a task ended."""

    task: str
    key: str | None
    status: Annotated[str, Field(pattern="^(done|skipped|failed)$")]
    seconds: float
    warnings: list[str]
    content: Values
    verdicts: list[str] = []
    step: bool = False
    fault: FaultTold | None = None

    @model_validator(mode="after")
    def _failures_have_a_reason(self) -> EndedTold:
        if (self.status == "failed") != (self.fault is not None):
            raise ValueError("a task that failed has a fault, and no other one has")
        return self


class BegunTold(Told):
    """A line of a journal: which tasks are about to be done."""

    begin: list[str]
    at: float


class NoteTold(Told):
    """A line of a journal: what the record of the whole is to say."""

    note: str


class StateTold(Told):
    """A line of a journal: how the process ended."""

    state: str


class HashTold(Told):
    """A line of a file of hashes: what a file of this size and time holds."""

    path: str
    size: int
    mtime_ns: int
    sha256: str


class OriginTold(Told):
    """What a command that several processes share was started from."""

    command: str
    config: str
    overrides: list[str]
    output: str
    device: str | None
    names: list[str]
    config_sha256: str


class ProcessTold(Told):
    """A line of a journal: who writes it."""

    process: str
    host: str = ""
    address: str = ""
    gpu: str = ""
    log: str = ""
    pid: int = 0
    started: str = ""
    num_tasks: int = 0
    deaths: dict[str, int] = {}
    origin: str = ""

    @field_validator("started")
    @classmethod
    def _when(cls, value: str) -> str:
        if value:
            datetime.fromisoformat(value)
        return value


def misfit(content: object, shape: type[Told]) -> str | None:
    """Return what is wrong with what a file holds, in a few words; None where nothing is."""
    if not isinstance(content, dict):
        return "cannot be read as JSON: there is no object in it"
    try:
        shape.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        return f"`{place}` is not as expected ({first['msg'].lower()})"
    return None


def read_told(path: Path, shape: type[Told]) -> dict[str, Any] | None:
    """Return what a JSON file holds; None where there is none of this shape."""
    content, problem = _read(path, shape)
    return content if problem is None else None


def require_told(path: Path, shape: type[Told]) -> dict[str, Any]:
    """Return what a JSON file holds.

    Raises:
        RunError: it cannot be read, or a field is not what it must be.
    """
    content, problem = _read(path, shape)
    if content is None or problem is not None:
        raise RunError(f"{path}: {problem}", hint="run the command that wrote it again")
    return content


def foreign_in(path: Path, shape: type[Told]) -> str | None:
    """Return a sentence about a file that is there and not of this shape, for its reader."""
    if not path.is_file():
        return None
    problem = _read(path, shape)[1]
    return None if problem is None else f"{path}: skipped: {problem}"


def _read(path: Path, shape: type[Told]) -> tuple[dict[str, Any] | None, str | None]:
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None, "cannot be read as JSON"
    problem = misfit(content, shape)
    return (content, None) if problem is None else (None, problem)
