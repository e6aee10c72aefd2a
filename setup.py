"""Builds the wheel: the sample of `esegeta demo` goes into the package, from where it is kept."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
SAMPLES = (
    "configs/demo.yaml",
    "data_samples/ct_torso/LICENSE",
    "data_samples/ct_torso/NOTICE",
    "data_samples/ct_torso/ct_torso.nii.gz",
    "data_samples/ct_torso/ct_torso_labels.nii.gz",
    "data_samples/models/ct_unet3d.md",
    "data_samples/models/ct_unet3d.safetensors",
)


class BuildWithSamples(build_py):
    """Copies the sample beside the code; an editable install reads it where it is."""

    def run(self) -> None:
        """Build as usual, then copy."""
        super().run()
        if self.editable_mode:
            return
        for name in SAMPLES:
            place = Path(self.build_lib, "esegeta", "samples", name)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, place)


setup(cmdclass={"build_py": BuildWithSamples})
