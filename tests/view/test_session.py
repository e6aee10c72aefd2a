"""What a session holds: answers once, channels by name, labels that overlap, and what serves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from esegeta.errors import ModelError
from esegeta.explain import Saliency
from esegeta.view import QUICK, Session
from esegeta.view.answers import Answer, Answers
from esegeta.view.session import Relay
from tests.closed import save_trace
from tests.compare.pages.page import read_copy
from tests.experiments import SHAPE, Lab, noise, pointwise_lab, save_image
from tests.view.sessions import question, session_of

pytestmark = pytest.mark.usefixtures("quick")
AT, ELSEWHERE = (2, 3, 6), (5, 5, 5)


@pytest.fixture
def quick_lab(tmp_path: Path) -> Lab:
    """A network of two channels, of which the second counts for the liver."""
    lab = pointwise_lab(tmp_path, [[0.0, 0.0], [1.0, 2.0]], [0.0, 0.0])
    save_image(tmp_path / "b.nii.gz", noise(seed=1))
    lab.keys["data"] = {
        "channels": ["t1", "flair"],
        "cases": [{"name": "a", "image": ["a.nii.gz", "b.nii.gz"]}],
    }
    del lab.keys["targets"], lab.keys["methods"]
    return lab


def answered(session: Session, index: tuple[int, ...], method: str = "saliency") -> Answer:
    aim = session.aim(session.question(question(session, index)))
    return session.answer(aim, method, session.freeze(aim))


def test_each_channel_of_a_map_is_a_layer_of_its_own(quick_lab: Lab) -> None:
    answer = answered(session_of(quick_lab), AT)
    layers = answer.entry.layers
    assert [layer.name for layer in layers] == ["all channels", "channel t1", "channel flair"]
    assert [layer.peak for layer in layers] == pytest.approx([3.0, 1.0, 2.0])
    assert set(answer.volumes) == {layer.volume for layer in layers}


def test_a_waiting_question_uses_an_answer_found_meanwhile(
    quick_lab: Lab,
) -> None:
    session = session_of(quick_lab)
    first = answered(session, AT)
    assert answered(session, AT) is first
    other = answered(session, ELSEWHERE)
    assert other is not first
    for answer in (first, other):
        for identity, content in answer.volumes.items():
            assert session.volume(identity) == content
    assert session.volume("a9-0") is None


def test_the_least_recently_used_answers_are_dropped(quick_lab: Lab) -> None:
    session = session_of(quick_lab)
    first, second = answered(session, AT), answered(session, ELSEWHERE)
    held = Answers(held_bytes=first.size + second.size)
    held.hold(first)
    held.hold(second)
    assert held.known(first.aim, "saliency") is first  # asked for again
    third = answered(session, (7, 7, 7))
    held.hold(third)
    assert [held.find(one.entry.id) for one in (first, second, third)] == [first, None, third]
    small = Answers(held_bytes=1)
    small.hold(first)
    small.hold(second)
    assert [small.find(one.entry.id) for one in (first, second)] == [None, second]


def test_methods_keep_the_parameters_of_the_config(quick_lab: Lab) -> None:
    quick_lab.keys["methods"] = [{"name": "saliency", "absolute": True}, "occlusion"]
    session = session_of(quick_lab)
    assert tuple(session.methods) == QUICK
    assert session.methods["saliency"] == Saliency(absolute=True)


class Still(nn.Module):
    """A network from which no slope flows back."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, -x], dim=1).detach()


def test_a_network_without_gradients_is_refused_and_its_methods_are_named(
    tmp_path: Path, quick_lab: Lab
) -> None:
    save_trace(Still(), (1, 1, 8, 8, 8), tmp_path / "still.ts")
    quick_lab.keys["model"] = {"kind": "torchscript", "path": "still.ts"}
    quick_lab.keys["data"] = {"cases": [{"name": "a", "image": "a.nii.gz"}]}
    with pytest.raises(
        ModelError, match=r"no quick method .* which gives no gradients; .*occlusion"
    ):
        session_of(quick_lab)


def overlapping(folder: Path, bias: list[float]) -> Session:
    """Return a session of two labels, each where its own channel is above minus its bias."""
    lab = pointwise_lab(folder, [[1.0], [-1.0], [0.0]], bias)
    lab.keys |= {"activation": "sigmoid", "labels": {1: "high", 2: "low", 3: "never"}}
    del lab.keys["targets"], lab.keys["methods"]
    return session_of(lab)


def test_labels_that_others_cover_are_outlined_whole(tmp_path: Path) -> None:
    session = overlapping(tmp_path, [0.5, 0.5, -1.0])
    ground = session.ground
    assert set(ground.outlines) == {"high", "low"}  # what is nowhere has no outline
    where = {"high": noise() > -0.5, "low": noise() < 0.5}
    for value, (name, mask) in enumerate(where.items(), start=1):
        shown = read_copy(ground.volumes[ground.outlines[name]]).get_fdata()
        np.testing.assert_array_equal(shown == value, mask)


def test_the_cross_hair_begins_in_the_middle_if_nothing_is_predicted(tmp_path: Path) -> None:
    session = overlapping(tmp_path, [-99.0, -99.0, -99.0])
    grid = session.scene.volume.source.grid
    assert session.ground.focus_mm == grid.to_mm([(length - 1) // 2 for length in SHAPE])
    assert session.ground.outlines == {} and session.ground.entry.labels == ()


def test_windows_run_without_a_listener_are_not_counted(quick_lab: Lab) -> None:
    heard: list[int] = []
    relay = Relay()
    relay.advance(3)
    relay.listener = heard.append
    relay.advance(4)
    assert heard == [4]
    session = session_of(quick_lab)  # which is served by nobody yet
    assert answered(session, AT).entry.layers
