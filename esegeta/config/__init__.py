"""YAML experiments: read, checked and resolved."""

from esegeta.config.cases import list_cases
from esegeta.config.listing import cases_in_folder
from esegeta.config.parse import RunConfig, blamed_on, config_of, load_config, required_block
from esegeta.config.paths import as_path
from esegeta.config.schema import Config
from esegeta.config.targets import TargetKeys

__all__ = [
    "Config",
    "RunConfig",
    "TargetKeys",
    "as_path",
    "blamed_on",
    "cases_in_folder",
    "config_of",
    "list_cases",
    "load_config",
    "required_block",
]
