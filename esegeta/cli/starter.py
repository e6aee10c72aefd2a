"""A config to start from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from esegeta.errors import ConfigError, OutputError
from esegeta.samples import sample

STARTER = """\
# An esegeta experiment. Check it with `esegeta validate`, check with `esegeta predict` that it is
# your own pipeline's prediction (docs/pipeline.md), run it with `esegeta run`.
version: 1
name: liver                          # results are written to <output>/<name>
output: results                      # relative to the working directory, not to this file
seed: 0
device: auto                         # auto | cpu | cuda | cuda:1
model:
  kind: monai                        # monai | module (class: "package.module:Class")
  network: UNet                      # a name in monai.networks.nets
  args: {spatial_dims: 3, in_channels: 1, out_channels: 5, channels: [8, 16, 32, 64],
    strides: [2, 2, 2], num_res_units: 1, act: RELU, norm: BATCH}
  weights: "@weights"
  # or a .pt checkpoint; paths are relative to this file
activation: softmax                  # softmax | sigmoid
labels: {1: spleen, 2: kidneys, 3: liver, 4: bone}  # or {whole: [1, 2], core: 1}
data:
  cases:                             # a glob, a folder, a datalist (JSON, CSV), or a list
    - name: torso
      image: "@image"
      # or a DICOM folder; [t1.nii.gz, t2.nii.gz] for channels
      label: "@label"
      # the ground truth, where there is one
      # expected: ct_own.nii.gz      # your own segmentation by this network, to compare with
  preprocess:                        # as in training
    orientation: RAS                 # and spacing_mm: [3, 3, 3], where training resampled
    intensity: {window: [-250, 400]} # window | percentile | zscore | minmax | none
inference: {window: [64, 64, 64], overlap: 0.25, blend: gaussian, batch_size: 2}
prediction: {resample: logits}       # or probabilities, labels: what goes back to the image's grid
expected_dice: 0.99                  # lowest Dice with `expected` that passes
targets:
  - {name: liver, label: liver, of: logit, over: predicted, reduce: sum}
methods:                             # `esegeta methods` lists them all
  - saliency
  - {name: integrated_gradients, steps: 8, baseline: blur}
scores:                              # `esegeta scores` lists them all
  - {name: infidelity, samples: 8}
report: true                         # at the end one offline page: results/liver/report/index.html
# dissection:                        # which units detect which anatomy: `esegeta dissect`
#   layers: all                      # or a list of names; `esegeta layers` prints them
#   concepts:                        # taken from each case's `label` file
#     liver: 3                       # a label integer, or a list of them
#     liver_surface: {boundary_of: liver, within_mm: 3}
#     elsewhere: {not_of: liver}
#   quantile: 0.005                  # a unit's mask is its largest half percent of activations
#   min_iou: 0.04                    # units below it are not named
#   chance: {kind: surrogate, samples: 1000}   # surrogate | exchange | shift | permutation
#   ablation: false                  # true: how Dice changes without the best units
#   trails: false                    # true: how units lead to labels
# features:                          # what units and labels respond to: `esegeta features`
#   objectives: [{layer: model.1.submodule.0, unit: 3}, {label: liver}]
#   size: [32, 32, 32]               # of a picture
#   parametrisation: fourier         # voxels | multiscale | fourier | code
#   start: mean                      # mean | class_mean | noise | case
#   prior: none                      # none | l2 | tv | expert | code
#   steps: 64
#   seeds: 2
# inspect:                           # activations and filters of layers: `esegeta inspect`
#   layers: [model.0, model.1.submodule.0]
#   channels: 8
#   weights: true
# examples:                          # typical and untypical examples: `esegeta examples`
#   of: supervoxel                   # case | slice | component | supervoxel
#   layer: model.1.submodule.0
#   prototypes: 5
#   criticisms: 3
#   surrogate: {kind: tree, depth: 3}
"""


SAMPLES = {
    "@weights": ("models", "ct_unet3d.safetensors"),
    "@image": ("ct_torso", "ct_torso.nii.gz"),
    "@label": ("ct_torso", "ct_torso_labels.nii.gz"),
}
"""Placeholders for files, replaced by those of the sample."""

USUAL = Path("esegeta.yaml")
"""Where a config is written by default."""

YAML = (".yaml", ".yml")


def starter_path(
    arguments: Sequence[str], output: Path | None, *, has_model: bool
) -> tuple[Path, list[str]]:
    """Return where to write the config, and the images it is for.

    Args:
        arguments: arguments as typed: the images of a model, else the path.
        output: the path given as an option.
        has_model: whether the config is that of a model.

    Raises:
        ConfigError: there are several paths.
    """
    named = [text for text in arguments if not has_model or Path(text).suffix.lower() in YAML]
    paths = [*map(Path, named), *([output] if output is not None else [])]
    if len(paths) > 1:
        raise ConfigError(
            f"init: {len(paths)} files to write: {', '.join(map(str, paths))}",
            hint="name one; images are for --from MODEL",
        )
    return (paths or [USUAL])[0], [text for text in arguments if text not in named]


def starter() -> str:
    """Return the starter config; it runs as it is, on the sample that comes with the package."""
    text = STARTER
    for mark, parts in SAMPLES.items():
        text = text.replace(mark, str(sample(*parts)).replace("\\", "/"))
    return text


def write_starter(path: Path) -> None:
    """Write the starter config.

    Raises:
        OutputError: the file is there already, or cannot be written.
    """
    if path.exists():
        raise OutputError(f"{path}: already exists", hint="name another file")
    try:
        path.write_text(starter(), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from error
