"""The block `cluster`: on what a command runs when one process is not enough."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from esegeta.config.keys import Keys
from esegeta.machine import MOST_COUNTED

ClusterKind = Literal["local", "slurm", "pbs", "sge", "lsf", "htcondor", "address", "allocation"]
ADDRESS = re.compile(r"[a-z]+://\S+:\d+")
VARIABLE = r"\$(?:[A-Za-z_][A-Za-z0-9_]*|\{[A-Za-z_][A-Za-z0-9_]*\})"
SCRATCH = re.compile(rf"(?!-)(?:{VARIABLE}|[\w./~+@%,:=-])+")
WALLTIME = re.compile(r"(?:(\d+)-)?(\d{1,3}):([0-5]\d):([0-5]\d)")


class ClusterKeys(Keys):
    """Workers: of this machine, of a batch system, or of a scheduler that is there already."""

    kind: ClusterKind = "local"
    workers: int | Literal["auto"] = Field(default="auto")
    gpus_per_worker: int = Field(default=1, ge=0, le=MOST_COUNTED)
    cpus_per_worker: int = Field(default=4, ge=1, le=MOST_COUNTED)
    memory_gb: float = Field(default=16.0, ge=0.1, le=1e6)
    walltime: str = "04:00:00"
    queue: str | None = Field(default=None, min_length=1)
    account: str | None = Field(default=None, min_length=1)
    options: list[str] = Field(default_factory=list)
    prologue: list[str] = Field(default_factory=list)
    scratch: str | None = None
    address: str | None = None
    tasks_per_gpu: int = Field(default=1, ge=1, le=MOST_COUNTED)

    @property
    def num_workers(self) -> int | None:
        """How many workers; None where the machine tells."""
        return self.workers if isinstance(self.workers, int) else None

    @field_validator("workers", mode="before")
    @classmethod
    def _one_at_least(cls, value: Any) -> Any:
        is_number = isinstance(value, int) and not isinstance(value, bool) and value >= 1
        if not is_number and value != "auto":
            raise ValueError(f"must be a whole number, at least 1, or auto (found {value!r})")
        if is_number and value > MOST_COUNTED:
            raise ValueError(f"must be at most {MOST_COUNTED} (found {value})")
        return value

    @field_validator("scratch")
    @classmethod
    def _a_path(cls, value: str | None) -> str | None:
        if value is not None and (not value or SCRATCH.fullmatch(value) is None):
            raise ValueError(
                f'"{value}" is not a path; give one without spaces, in which $NAME stands for a '
                "variable of the node, such as $TMPDIR"
            )
        return value

    @field_validator("walltime")
    @classmethod
    def _a_time(cls, value: str) -> str:
        found = WALLTIME.fullmatch(value)
        if found is None or not any(int(part or 0) for part in found.groups()):
            raise ValueError(
                f'"{value}" is not a time; give hours, minutes and seconds in quotes, such as '
                '"04:00:00", or "2-00:00:00" with days'
            )
        return value

    @field_validator("walltime", mode="before")
    @classmethod
    def _in_quotes(cls, value: Any) -> Any:
        if isinstance(value, (int, float)):  # YAML reads 4:00:00 as a number in base 60
            raise ValueError(
                f"{value} is not a time; give hours, minutes and seconds, and give it in quotes, "
                'such as "04:00:00"'
            )
        return value

    @field_validator("address")
    @classmethod
    def _with_protocol(cls, value: str | None) -> str | None:
        if value is not None and ADDRESS.fullmatch(value) is None:
            raise ValueError(
                f'"{value}" is not an address; give protocol, host and port, such as '
                '"tcp://node7:8786"'
            )
        return value

    @model_validator(mode="before")
    @classmethod
    def _an_address_is_a_kind(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("address") and not values.get("kind"):
            return {**values, "kind": "address"}
        return values

    @model_validator(mode="after")
    def _what_belongs_together(self) -> ClusterKeys:
        if self.kind == "address" and not self.address:
            raise ValueError('kind: address needs `address`, such as "tcp://node7:8786"')
        if self.address is not None and self.kind != "address":
            raise ValueError(f"`address` belongs to kind: address, not kind: {self.kind}")
        if self.num_workers is None and self.kind not in ("local", "address", "allocation"):
            raise ValueError(f"kind: {self.kind} needs `workers`, a number of jobs")
        return self
