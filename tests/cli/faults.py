"""Faults of configs: how to make them, their line, and what the refusal says; single values."""

from collections.abc import Callable
from typing import Any

Change = Callable[[dict[str, Any]], Any]


def method(**keys: Any) -> Change:
    return lambda config: config["methods"].append(keys)


def score(**keys: Any) -> Change:
    return lambda config: config["scores"].append(keys)


def target(**keys: Any) -> Change:
    return lambda config: config["targets"].append(keys)


def block(*path: str, **keys: Any) -> Change:
    def change(config: dict[str, Any]) -> None:
        for name in path:
            config = config.setdefault(name, {})
        config.update(keys)

    return change


FAULTS_OF_VALUES: dict[str, tuple[Change, str, str, str]] = {
    "inverted box": (
        target(name="b", label="liver", box=[[5, 5, 5], [1, 1, 1]]),
        "name: b",
        "targets[1]:",
        "each start must be below its stop",
    ),
    "live mask of a fixed region": (
        target(name="b", label="liver", over="all", mask="live"),
        "name: b",
        "targets[1]:",
        "mask: live has no effect over: all",
    ),
    "live mask of dice": (
        target(name="b", label="liver", of="dice", mask="live"),
        "name: b",
        "targets[1]: of: dice describes the whole map; it takes no mask: live",
        "",
    ),
    "live mask of entropy": (
        target(name="b", label="liver", of="entropy", mask="live"),
        "name: b",
        "targets[1]: mask: live has no effect over: all (the default for entropy)",
        "",
    ),
    "mean of a volume": (
        target(name="b", label="liver", of="volume_ml", reduce="mean", mask="frozen"),
        "name: b",
        "targets[1]: of: volume_ml describes the whole map; it takes no reduce: mean",
        "",
    ),
    "smallest volume of the largest": (
        target(name="b", label="liver", component="largest", min_volume_ml=1),
        "name: b",
        "targets[1]: `min_volume_ml` belongs to component: each",
        "",
    ),
    "target like a component": (
        target(name="b#1", label="liver", over="all"),
        "name: b#1",
        'targets[1].name: "b#1" cannot be the name of a target',
        "",
    ),
    "target like another key of a file name": (
        target(name="b_desc-x", label="liver", over="all"),
        "name: b_desc-x",
        'targets[1].name: "b_desc-x" cannot be the name of a target',
        "",
    ),
    "label like a component": (
        lambda config: (
            config.update(labels={1: "liver#1"}),
            config.update(targets=[{"label": "liver#1"}]),
        ),
        "- label",
        '"liver#1" cannot be the name of a target',
        "give the target a `name`",
    ),
    "method like a channel": (
        method(name="saliency", id="a_chan-b"),
        "- name: saliency",
        'id: "a_chan-b" cannot be the name of a method',
        "_chan-",
    ),
    "channel like a label": (
        block("data", channels=["a_label-b"]),
        "- a_label-b",
        'data.channels[0]: "a_label-b" cannot be',
        "_label-",
    ),
    "window of one number": (
        block("inference", window=8),
        "window:",
        "inference.window",
        "[64, 64, 64]",
    ),
    "spacing of one number": (
        block("data", "preprocess", spacing_mm=3),
        "spacing_mm:",
        "data.preprocess.spacing_mm",
        "[3, 3, 3]",
    ),
    "cases without a value": (block("data", cases=None), "cases:", "data.cases: missing", ""),
    "baseline of a number": (
        method(name="integrated_gradients", baseline=3),
        "baseline:",
        "methods[1].baseline: should be a block of keys or text (found 3)",
        "",
    ),
    "two overlaps for three axes": (
        block("inference", overlap=[0.5, 0.5]),
        "overlap:",
        "inference.overlap: ",
        "give one, or 3",
    ),
    "box of two lengths": (
        method(name="occlusion", box=[4, 4]),
        "- name: occlusion",
        "methods[1]: occlusion: box: [4, 4] for the 3D image a",
        "give one length, or 3",
    ),
    "stride of two lengths in a method of a method": (
        method(name="smoothgrad", base={"name": "occlusion", "stride_mm": [4, 4]}),
        "- name: smoothgrad",
        "methods[1]: occlusion: stride_mm: [4, 4] for the 3D image a",
        "give one length, or 3",
    ),
    "point outside": (
        target(name="b", label="liver", point=[3, 11, 3]),
        "name: b",
        "targets[1]: point [3, 11, 3] lies outside a",
        "12 x 11 x 9",
    ),
    "point before": (
        target(name="b", label="liver", point=[-1, 0, 0]),
        "name: b",
        "targets[1]: point [-1, 0, 0] lies outside a",
        "12 x 11 x 9",
    ),
    "box outside": (
        target(name="b", label="liver", box=[[0, 0, 9], [4, 4, 12]]),
        "name: b",
        "targets[1]: box [[0, 0, 9], [4, 4, 12]] lies outside a",
        "12 x 11 x 9",
    ),
    "top": (block(sed=3), "sed:", "sed: unknown key", '"seed"'),
    "nested": (
        block("inference", batchsize=2),
        "batchsize:",
        "inference.batchsize",
        '"batch_size"',
    ),
    "model": (block("model", weigths="w"), "weigths:", "model.weigths: unknown", '"weights"'),
    "case": (
        lambda config: config["data"]["cases"][1].update(lable="x"),
        "lable:",
        "data.cases[1].lable: unknown key",
        '"label"',
    ),
    "method": (
        method(name="integrated_gradients", stps=3),
        "stps:",
        "methods[1].stps: unknown key of integrated_gradients",
        '"steps"',
    ),
    "method of a method": (
        method(name="smoothgrad", base={"name": "integrated_gradients", "stps": 3}),
        "stps:",
        "methods[1].base.stps: unknown key",
        '"steps"',
    ),
    "baseline": (
        method(name="integrated_gradients", baseline={"kind": "blur", "sigma": 3}),
        "sigma:",
        "methods[1].baseline.sigma: unknown key",
        '"sigma_mm"',
    ),
    "unknown method": (
        method(name="integrated_gradient"),
        "integrated_gradient",
        'methods[1]: unknown method "integrated_gradient"',
        '"integrated_gradients"',
    ),
    "unknown score": (
        lambda config: config["scores"].append("infidelty"),
        "infidelty",
        'scores[0]: unknown score "infidelty"',
        '"infidelity"',
    ),
    "unknown score of a score": (
        score(name="random_map_baseline", base="infidelty"),
        "base: infidelty",
        'scores[0].base: unknown score "infidelty"',
        '"infidelity"',
    ),
    "method as the score of a score": (
        score(name="random_map_baseline", base={"name": "saliency"}),
        "base:",
        'scores[0].base: unknown score "saliency"',
        "choose from",
    ),
    "key of the score of a score": (
        score(name="random_map_baseline", base={"name": "infidelity", "sampels": 3}),
        "sampels:",
        "scores[0].base.sampels: unknown key of infidelity",
        '"samples"',
    ),
    "value of the score of a score": (
        score(name="random_map_baseline", base={"name": "infidelity", "samples": 1}),
        "base:",
        "scores[0].base: infidelity: samples must be at least 2",
        "",
    ),
    "type of the score of a score": (
        score(name="random_map_baseline", base={"name": "infidelity", "samples": "many"}),
        "samples: many",
        "scores[0].base.samples",
        "'many'",
    ),
    "no name of the score of a score": (
        score(name="random_map_baseline", base={"samples": 3}),
        "base:",
        "scores[0].base: needs the name of a score",
        "",
    ),
    "no name of the method of a method": (
        method(name="smoothgrad", base={"steps": 3}),
        "base:",
        "methods[1].base: needs the name of a method",
        "",
    ),
    "a score that is judged by itself": (
        score(name="random_map_baseline", base="random_map_baseline"),
        "name: random_map_baseline",
        "scores[0]: random_map_baseline: base: random_map_baseline cannot be judged by itself",
        "",
    ),
}
