"""YAML experiments: read, checked and resolved."""

from esegeta.config.cases import list_cases
from esegeta.config.parse import RunConfig, load_config
from esegeta.config.schema import Config
from esegeta.config.targets import TargetKeys

__all__ = ["Config", "RunConfig", "TargetKeys", "list_cases", "load_config"]
