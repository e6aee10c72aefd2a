"""A training without an image sees the patches of the one with it, but for those of the image."""

import torch

from esegeta.predict import WindowPlan
from esegeta.retraining import patches_without
from esegeta.retraining.samples import Sample, whole_box
from tests import builders


def test_only_the_patches_of_the_image_are_replaced() -> None:
    samples = [
        Sample(
            place,
            place,
            whole_box((6, 6)),
            *[torch.full((1, 6, 6), float(place))] * 2,
            torch.zeros((6, 6), dtype=torch.int64),
            builders.labels(),
        )
        for place in range(3)
    ]
    images = [sample.data for sample in samples]
    plan = WindowPlan((2, 2))
    whole, without = (
        patches_without(samples, images, plan, 5, left_out).draw(60)[0][:, 0, 0, 0]
        for left_out in (None, 1)
    )
    assert set(whole.tolist()) == {0, 1, 2}
    assert set(without.tolist()) == {0, 2}
    others = whole != 1
    assert torch.equal(whole[others], without[others])
