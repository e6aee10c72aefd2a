"""One training: images without some voxels, a new network, its Dice on the held-out fold."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from esegeta.axes import Image, Mask
from esegeta.model import seeded
from esegeta.predict import Predictor
from esegeta.retraining import Stream, Training, seed_of
from esegeta.retraining.samples import Patches, Removal, Sample
from esegeta.retraining.summary import fold_dice, sample_dice
from esegeta.retraining.train import train_network
from esegeta.workflow.networks import construct_network
from esegeta.workflow.retrain.build import Retraining
from esegeta.workflow.retrain.material import TrainingData
from esegeta.workflow.task import Content, Listener


@dataclass(frozen=True, eq=False)
class Trainer:
    """What all trainings of one method and seed share.

    Args:
        retraining: retraining that they belong to.
        material: cases, samples and notes.
        orders: ranking of each sample's voxels.
    """

    retraining: Retraining
    material: TrainingData
    orders: Sequence[Tensor]

    def result(self, training: Training, listener: Listener) -> Content:
        """Train and test a network; return its Dice, and what explains it."""
        start = time.perf_counter()
        network, history = self.train(training, listener)
        by_sample = self.test(network, training, listener)
        _, samples = self._parts(training)
        return {
            **training.describe(),
            "dice": fold_dice(by_sample),
            "seconds": round(time.perf_counter() - start, 3),
            "images": {
                self.material.names[sample.place]: {
                    "dice": dice,
                    "removed": self.removed_of_labels(sample, training.removal),
                }
                for sample, dice in zip(samples, by_sample, strict=True)
            },
            "loss": {"first": history[0], "last": history[-1]},
        }

    def train(self, training: Training, listener: Listener) -> tuple[nn.Module, list[float]]:
        """Return a network trained from scratch, and the loss of every step."""
        retraining, device = self.retraining, self.retraining.experiment.device
        seed, fold = training.seed, training.fold
        samples, _ = self._parts(training)
        images = [self.image(sample, training.removal) for sample in samples]
        patches = Patches(
            samples, images, retraining.patch_plan, seed_of(Stream.PATCHES, seed, fold)
        )
        weights_seed = seed_of(Stream.WEIGHTS, seed, fold)
        network = construct_network(retraining.experiment.config, seed=weights_seed).to(device)
        with seeded(seed_of(Stream.DROPOUT, seed, fold), device):
            history = train_network(
                network,
                patches,
                retraining.recipe,
                output=retraining.experiment.predictor.output,
                on_patches=listener.advance,
            )
        return network, history

    def test(
        self, network: nn.Module, training: Training, listener: Listener
    ) -> list[dict[str, float]]:
        """Return the Dice of each label on each image of the fold, which lack as many voxels."""
        experiment = self.retraining.experiment
        predictor: Predictor = replace(
            experiment.predictor.with_network(network), on_windows=listener.advance
        )
        _, samples = self._parts(training)
        return [
            sample_dice(predictor, sample, self.image(sample, training.removal), experiment.device)
            for sample in samples
        ]

    def image(self, sample: Sample, removal: Removal) -> Image:
        """Return a sample's image without its voxels."""
        return sample.without(self._mask(sample, removal))

    def removed_of_labels(self, sample: Sample, removal: Removal) -> dict[str, float]:
        """Return which part of each label's voxels is removed from a sample.

        Where nearly all of a label is gone and little of the rest, its place can be read off the
        hole: a Dice that stays high is then no sign that the method was wrong.
        """
        flat = self._mask(sample, removal).flatten().numpy()
        return {name: float(flat[voxels].mean()) for name, voxels in sample.pools.items()}

    def expected_windows(self, training: Training) -> int:
        """Return how many patches and windows go through the network."""
        recipe = self.retraining.recipe
        plan = self.retraining.experiment.predictor.plan.of_one_network()
        tested = sum(len(plan.lay(sample.shape)) for sample in self._parts(training)[1])
        return recipe.iterations * recipe.batch_size + tested

    def _mask(self, sample: Sample, removal: Removal) -> Mask:
        return removal.mask(self.orders[sample.place], sample.shape)

    def _parts(self, training: Training) -> tuple[list[Sample], list[Sample]]:
        return self.material.fold(training.fold, self.retraining.keys.folds)
