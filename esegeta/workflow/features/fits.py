"""What is learned of the cases before pictures are made: the expert and the generator."""

from __future__ import annotations

from typing import Any

import torch

from esegeta.axes import Scalars
from esegeta.features import (
    Denoiser,
    Expert,
    Generator,
    PatchMixture,
    PcaGenerator,
    VaeGenerator,
)
from esegeta.volume import write_json
from esegeta.workflow.cache import keep_tensors, read_tensors
from esegeta.workflow.features.build import FeatureJob
from esegeta.workflow.features.material import Material, collect
from esegeta.workflow.task import Content, Desk, Task

WHOLE = 0
"""How deep in the scope the desk remembers what is of the whole command."""


def material_of(desk: Desk) -> Material:
    """Return the real patches, taken once.

    Raises:
        DataError: a case cannot be read.
    """

    def take() -> Material:
        job: FeatureJob = desk.job
        found = collect(job)
        desk.note(*found.notes)
        return found

    return desk.once("material", take, depth=WHOLE)


def fit_expert(task: Task, desk: Desk) -> Content:
    """Fit the density or train the denoiser, and keep it."""
    job: FeatureJob = desk.job
    material, keys, seed = material_of(desk), job.keys.expert, job.basis.config.keys.seed
    device = job.basis.device
    desk.begin(task.name, [task], keys.iterations if keys.kind == "denoiser" else None)
    expert: Expert
    if keys.kind == "mixture":
        expert = PatchMixture.fit(
            material.small_patches(keys.patch, keys.samples, seed),
            keys.patch,
            axes=keys.axes,
            components=keys.components,
            seed=seed,
        )
    else:
        expert = Denoiser.fit(
            material.drawing(seed, device),
            material.real.data.to(device),
            sigma=keys.sigma,
            iterations=keys.iterations,
            seed=seed,
            on_step=lambda: desk.listener.advance(1),
        )
    costs = expert_costs(expert.to(device), material, device)
    content = {
        "kind": expert.name,
        "real_cost": float(costs.mean()),
        "real_cost_std": float(costs.std()),
    }
    _keep(task, expert, content)
    return content


def fit_generator(task: Task, desk: Desk) -> Content:
    """Take the principal components or train the autoencoder, and keep it."""
    job: FeatureJob = desk.job
    material, keys, seed = material_of(desk), job.keys.generator, job.basis.config.keys.seed
    device = job.basis.device
    desk.begin(task.name, [task], keys.iterations if keys.kind == "vae" else None)
    generator: Generator
    if keys.kind == "pca":
        generator = PcaGenerator.fit(material.real.data.to(device), keys.codes)
    else:
        generator = VaeGenerator.fit(
            material.drawing(seed, device),
            material.real.data.to(device),
            codes=keys.codes,
            iterations=keys.iterations,
            seed=seed,
            on_step=lambda: desk.listener.advance(1),
        )
    content = {"kind": generator.name, "explained": _explained(generator, material, device)}
    _keep(task, generator, content)
    return content


def expert_of(desk: Desk) -> Expert:
    """Return the expert that an earlier task has kept, on the device."""
    return desk.once("expert", lambda: _read_expert(desk), depth=WHOLE)


def generator_of(desk: Desk) -> Generator:
    """Return the generator that an earlier task has kept, on the device."""
    return desk.once("generator", lambda: _read_generator(desk), depth=WHOLE)


def _read_expert(desk: Desk) -> Expert:
    from esegeta.workflow.features.tasks import expert_task

    job: FeatureJob = desk.job
    state = _state(expert_task(job))
    found: Expert = Denoiser.of(state) if job.keys.expert.kind == "denoiser" else _mixture(state)
    return found.to(job.basis.device)


def _mixture(state: dict[str, torch.Tensor]) -> Expert:
    return PatchMixture.of(state)


def _read_generator(desk: Desk) -> Generator:
    from esegeta.workflow.features.tasks import generator_task

    job: FeatureJob = desk.job
    state = _state(generator_task(job))
    if job.keys.generator.kind == "vae":
        return VaeGenerator.of(state, job.keys.size).to(job.basis.device)
    return PcaGenerator(state["mean"], state["axes"], state["scales"]).to(job.basis.device)


def _state(task: Task) -> dict[str, torch.Tensor]:
    assert task.record is not None and task.key is not None
    found = read_tensors(task.record, task.key)
    assert found is not None  # the task is needed by those that read it
    return found


def _keep(task: Task, learned: Expert | Generator, content: dict[str, Any]) -> None:
    assert task.record is not None and task.key is not None
    beside = task.record.with_suffix(".json")
    write_json(beside, content)
    keep_tensors(task.record, task.key, learned.state(), [beside])


def expert_costs(expert: Expert, material: Material, device: torch.device) -> Scalars:
    """Return the expert's cost of each real patch, on the host."""
    with torch.no_grad():
        parts = [expert.cost(part.to(device)).cpu() for part in torch.split(material.real.data, 16)]
    return torch.cat(parts)


def _explained(generator: Generator, material: Material, device: torch.device) -> float:
    """Return which part of the variance of real patches their codes keep."""
    left = total = 0.0
    with torch.no_grad():
        for part in torch.split(material.real.data, 16):
            x = part.to(device)
            left += float((x - generator.decode(generator.encode(x))).square().sum())
            total += float((x - material.mean.to(device)).square().sum())
    return 1 - left / total if total > 0 else 1.0
