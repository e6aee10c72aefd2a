"""The keys of `inspect`: activations of which layers and channels, and which filters."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from esegeta.config.dissection import layer_names
from esegeta.config.keys import Keys


class InspectKeys(Keys):
    """A look inside the network: what layers do, and what convolutions weigh."""

    layers: Annotated[str | list[str], BeforeValidator(layer_names)]
    channels: Annotated[int, Field(ge=1)] | list[Annotated[int, Field(ge=0)]] = 16
    by: Literal["variance", "dissection"] = "variance"
    weights: bool = True
    cases: Literal["all"] | list[str] | None = None
    member: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _consistent(self) -> InspectKeys:
        if isinstance(self.channels, list):
            if not self.channels:
                raise ValueError("channels: name one, or say how many")
            if len(set(self.channels)) < len(self.channels):
                raise ValueError("channels: a channel is named twice")
            if "by" in self.model_fields_set:
                raise ValueError("`by` selects channels, but `channels` names them; leave it out")
        if self.cases == []:
            raise ValueError("cases: name one, write `all`, or leave it out for the first")
        return self
