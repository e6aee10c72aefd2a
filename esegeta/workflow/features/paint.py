"""Pictures made: from which start, in which numbers, held back by what; then measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from esegeta.axes import Batch, Image, Scalars
from esegeta.config.features import FeatureKeys
from esegeta.features import (
    Blur,
    Code,
    ExpertCost,
    Fourier,
    Measured,
    MultiScale,
    Normed,
    Parametrisation,
    PcaGenerator,
    Penalty,
    PowerNorm,
    Recipe,
    TotalVariation,
    Transforms,
    Voxels,
    ascend,
    measure,
    scaled_to,
    stability,
)
from esegeta.volume import Volume
from esegeta.workflow.features.build import FeatureJob
from esegeta.workflow.features.fits import WHOLE, expert_costs, expert_of, generator_of, material_of
from esegeta.workflow.features.material import Material, centre_box, cut_box
from esegeta.workflow.features.objectives import PlannedObjective, with_diversity
from esegeta.workflow.features.variants import Variant
from esegeta.workflow.task import Content, Desk

WOBBLE = 0.05
"""Noise that a start is given, in standard deviations of the free numbers, so that seeds differ."""


@dataclass(frozen=True, eq=False)
class Painted:
    """The pictures of one variant.

    Args:
        pictures: of each seed, `B C *S`, on the host.
        values: the objective before each step of the first seed.
        content: what is told of them.
    """

    pictures: list[Batch] = field(repr=False)
    values: list[float] = field(repr=False)
    content: Content = field(repr=False)


def paint(desk: Desk, planned: PlannedObjective, variant: Variant, name: str) -> Painted:
    """Make a variant's pictures of an objective, one a seed, and measure them.

    Raises:
        EsegetaError: a case cannot be read, or a picture is not finite.
    """
    job: FeatureJob = desk.job
    keys, device, material = job.keys, job.basis.device, material_of(desk)
    real_values = values_of(desk, planned)
    spread = float(real_values.std()) or float(real_values.abs().max()) or 1.0
    objective = with_diversity(planned.objective, keys, spread)
    parametrisation = _parametrisation(desk, variant)
    recipe = _recipe(desk, variant)
    images = 1 if keys.diversity is None else keys.diversity.images
    start = first_picture(desk, variant).to(device)
    wobble = 1.0 if variant.start == "noise" else WOBBLE
    pictures, histories = [], []
    for number in range(keys.seeds):
        done = ascend(
            job.subject,
            objective,
            parametrisation,
            start[None].expand(images, *start.shape).clone(),
            recipe,
            seed=job.basis.config.keys.seed + number,
            spread=spread,
            wobble=wobble,
            on_step=lambda: desk.listener.advance(1),
        )
        pictures.append(done.picture.cpu())
        histories.append(done.values)
    content = _told(desk, planned, pictures, real_values, material)
    return Painted(pictures, histories[0], {**content, **variant.describe(), "name": name})


def values_of(desk: Desk, planned: PlannedObjective) -> Scalars:
    """Return an objective's value of each real patch, found once."""
    job: FeatureJob = desk.job

    def find() -> Scalars:
        return job.subject.values(
            material_of(desk).real.data,
            planned.objective,
            batch_size=job.basis.predictor.batch_size,
            device=job.basis.device,
        )

    return desk.once(("values", planned.name), find, depth=WHOLE)


def first_picture(desk: Desk, variant: Variant) -> Image:
    """Return what a variant starts from."""
    job: FeatureJob = desk.job
    material = material_of(desk)
    if variant.start == "class_mean":
        return material.class_means[variant.label]
    if variant.start == "case":
        volume = case_volume(desk, job.keys.start_case)
        start = centre_box(volume.grid.shape, job.box)
        return cut_box(volume.data, start, job.box, job.thin)
    return material.mean


def case_volume(desk: Desk, name: str | None) -> Volume:
    """Return the image of a case; of the first where none is named."""
    job: FeatureJob = desk.job
    cases = job.basis.cases
    case = next((one for one in cases if one.name == name), cases[0])
    return job.basis.read(case)[0]


def _parametrisation(desk: Desk, variant: Variant) -> Parametrisation:
    job: FeatureJob = desk.job
    keys = job.keys
    found: Parametrisation
    if variant.parametrisation == "code":
        generator = generator_of(desk)
        found = Code(generator)
        if (
            keys.norm is not None
            and variant.prior != "code"
            and isinstance(generator, PcaGenerator)
        ):
            found = generator.directions()  # the length of no code is weighed
    else:
        plain, material = _plain(keys, variant, job.spacing_mm), material_of(desk)
        counted = material.unmixed(plain) if keys.decorrelate else material.scaled(plain)
        found = counted if keys.norm is None else counted.of_directions()
    return found if keys.norm is None else Normed(found, keys.norm)


def _plain(keys: FeatureKeys, variant: Variant, spacing_mm: tuple[float, ...]) -> Parametrisation:
    if variant.parametrisation == "fourier":
        return Fourier(keys.size, spacing_mm)
    return MultiScale() if variant.parametrisation == "multiscale" else Voxels()


def _recipe(desk: Desk, variant: Variant) -> Recipe:
    job: FeatureJob = desk.job
    keys, material = job.keys, material_of(desk)
    penalties, side = _penalties(desk, variant)
    transforms = Transforms(keys.jitter_voxels, keys.rotate_degrees, keys.scale)
    blur = None if keys.blur is None else Blur(keys.blur.sigma_mm, keys.blur.every)
    return Recipe(
        steps=keys.steps,
        rate=keys.rate,
        spacing_mm=job.spacing_mm,
        penalties=tuple(penalties),
        code_weight=_code_weight(desk) if variant.prior == "code" else 0.0,
        transforms=Transforms() if variant.is_plain else transforms,
        blur=None if variant.is_plain else blur,
        bounds=material.bounds if keys.clips else None,
        side=side,
    )


def _penalties(desk: Desk, variant: Variant) -> tuple[list[tuple[float, Penalty]], int]:
    """Return what a picture pays for, and how far the first patch of an expert is shifted."""
    job: FeatureJob = desk.job
    keys, material, device = job.keys, material_of(desk), job.basis.device
    found: list[tuple[float, Penalty]] = []
    side = 1
    if variant.prior == "expert":
        expert = expert_of(desk)
        side = min(expert.side, 1 + min(keys.size) - expert.side) if expert.side > 1 else 1
        spread = desk.once("expert costs", lambda: _spread(desk), depth=WHOLE)
        found.append((keys.prior_weight, ExpertCost(expert, spread)))
    if variant.prior == "tv":
        rough = scaled_to(TotalVariation(job.spacing_mm), material.real.data)
        found.append((keys.prior_weight, rough))
    if variant.prior == "l2":
        found.append((keys.prior_weight, _norm(material, 2.0, device)))
    if keys.alpha_norm is not None and not variant.is_plain:
        alpha = keys.alpha_norm
        found.append((alpha.weight, _norm(material, alpha.power, device)))
    return found, side


def _code_weight(desk: Desk) -> float:
    """Return the weight of |z|^2 / K, over its mean over real patches.

    Not over their spread, as of an expert: it is smallest at the mean patch, far below any real
    one, and their spread is a fraction of that step. It would hold pictures at the mean.
    """
    job: FeatureJob = desk.job

    def typical() -> float:
        generator, device = generator_of(desk), job.basis.device
        with torch.no_grad():
            parts = torch.split(material_of(desk).real.data, 16)
            codes = torch.cat([generator.encode(part.to(device)).cpu() for part in parts])
        return float(codes.square().mean()) or 1.0

    return job.keys.prior_weight / desk.once("efforts", typical, depth=WHOLE)


def _spread(desk: Desk) -> float:
    job: FeatureJob = desk.job
    return float(expert_costs(expert_of(desk), material_of(desk), job.basis.device).std()) or 1.0


def _norm(material: Material, alpha: float, device: torch.device) -> PowerNorm:
    scale = scaled_to(PowerNorm(material.mean, alpha), material.real.data).scale
    return PowerNorm(material.mean.to(device), alpha, scale)


def _told(
    desk: Desk,
    planned: PlannedObjective,
    pictures: Sequence[Batch],
    real_values: Tensor,
    material: Material,
) -> Content:
    job: FeatureJob = desk.job
    values = [
        job.subject.values(
            picture,
            planned.objective,
            batch_size=job.basis.predictor.batch_size,
            device=job.basis.device,
        )
        for picture in pictures
    ]
    firsts = [float(value[0]) for value in values]
    shown = [
        measure(pictures[0][i : i + 1], float(values[0][i]), material.real, real_values)
        for i in range(len(pictures[0]))
    ]
    first: Measured = shown[0]
    wide = torch.tensor(firsts)
    return {
        **asdict(first),
        "nearest_case": material.real.places[first.nearest][0],
        "nearest_start": list(material.real.places[first.nearest][1]),
        "largest_real": float(real_values.max()),
        "mean_real": float(real_values.mean()),
        "stability": stability(pictures, material.mean),
        "activations": firsts,
        "activation_std": float(wide.std()) if len(firsts) > 1 else None,
        "images": [asdict(one) for one in shown],
    }
