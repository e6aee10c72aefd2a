"""Activation maximisation as a command: built from a config, picture by picture, resumed."""

from esegeta.workflow.features.build import FeatureJob, build_features
from esegeta.workflow.features.tasks import run_features

__all__ = ["FeatureJob", "build_features", "run_features"]
