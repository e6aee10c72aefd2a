"""Faults of configs: how to make them, their line, and what the refusal says; second half."""

from tests.cli.faults import Change, block, method, target

FAULTS_OF_MEANING: dict[str, tuple[Change, str, str, str]] = {
    "unknown word": (
        target(name="x", label="liver", over="predcted"),
        "predcted",
        'targets[1].over: "predcted" is not known',
        '"predicted"',
    ),
    "wrong type": (
        method(name="integrated_gradients", steps="many"),
        "many",
        "methods[1].steps: ",
        "(found 'many')",
    ),
    "negative steps": (
        method(name="integrated_gradients", steps=0),
        "integrated_gradients",
        "methods[1]: integrated_gradients: steps: 0",
        "at least 1",
    ),
    "unknown baseline": (
        method(name="integrated_gradients", baseline="blurr"),
        "integrated_gradients",
        'methods[1]: baseline: "blurr" is not known',
        '"blur"',
    ),
    "window with a zero": (
        block("inference", window=[8, 0, 8]),
        "window:",
        "inference.window: give two or three lengths above zero",
        "[8, 0, 8]",
    ),
    "overlap of one": (
        block("inference", overlap=1),
        "overlap:",
        "inference.overlap",
        "less than 1",
    ),
    "two methods of one id": (
        method(name="saliency", absolute=True),
        "- name: saliency",
        'methods[1]: two entries have the id "saliency"',
        "give one of them an `id`",
    ),
    "two targets of one name": (
        target(name="liver", label="liver", over="all"),
        "- name: liver",
        'targets[1]: two targets have the name "liver"',
        "give each a `name`",
    ),
    "empty combination": (
        target(name="x", combine={}),
        "- name: x",
        "targets[1]: combine names no target",
        "",
    ),
    "combination of nothing": (
        target(name="x", combine={"livr": 1.0}),
        "- name: x",
        'targets[1].combine: no target "livr"',
        '"liver"',
    ),
    "label that no folder can have": (
        lambda config: (
            config.update(labels={1: "left/liver"}),
            config.update(targets=[{"label": "left/liver"}]),
        ),
        "- label",
        '"left/liver" cannot be part of a file name',
        "",
    ),
    "key of another region": (
        target(name="x", label="liver", over="predicted", point=[1, 1, 1]),
        "- name: x",
        "`point` belongs to over: point",
        "",
    ),
    "no label": (target(name="x"), "- name: x", "targets[1]: `label` is missing", ""),
    "unknown label": (
        target(name="x", label="livr", over="all"),
        "- name: x",
        'targets[1]: label "livr" is not among the labels',
        '"liver"',
    ),
    "labels the wrong way round": (
        block(labels={"liver": 1}),
        "liver: 1",
        "labels.liver",
        "integer",
    ),
    "softmax of one output": (
        block("model", "args", out_channels=1),
        "labels:",
        "softmax over a single output channel",
        "use activation: sigmoid",
    ),
    "bad orientation": (
        block("data", "preprocess", orientation="RAX"),
        "preprocess:",
        'orientation: "RAX" is not a set of axis codes',
        "such as RAS or LPS",
    ),
    "orientation of too few axes": (
        block("data", "preprocess", orientation="RA"),
        "- name: a",
        'preprocess.orientation "RA" names 2 axes, a is 3D',
        "such as RAS",
    ),
    "spacing of wrong length": (
        block("data", "preprocess", spacing_mm=[2, 2]),
        "- name: a",
        "preprocess.spacing_mm has 2 values, a is 3D",
        "give 3 values",
    ),
    "no spacing": (
        block("data", "preprocess", spacing_mm=[]),
        "spacing_mm",
        "data.preprocess.spacing_mm",
        "two or three lengths",
    ),
    "empty intensity window": (
        block("data", "preprocess", intensity={"window": [400, -250]}),
        "preprocess:",
        "[400, -250] is empty",
        "lower bound first",
    ),
    "two intensities": (
        block("data", "preprocess", intensity={"window": [0, 1], "zscore": True}),
        "intensity:",
        "data.preprocess.intensity: give one of",
        "",
    ),
    "unknown intensity": (
        block("data", "preprocess", intensity="zscor"),
        "intensity:",
        'data.preprocess.intensity: "zscor" is not known',
        'did you mean "zscore"?',
    ),
    "intensity without its bounds": (
        block("data", "preprocess", intensity="window"),
        "intensity:",
        "data.preprocess.intensity: window needs its bounds",
        "write window: [-250, 400]",
    ),
    "empty id": (
        method(name="saliency", id=""),
        "- name: saliency",
        'id "" cannot be part of a file name',
        "",
    ),
    "two cases of one name": (
        lambda config: config["data"]["cases"][1].update(name="a"),
        "cases:",
        'two cases have the name "a"',
        "`name` of its own",
    ),
    "no cases": (block("data", cases=[]), "cases:", "data.cases: [] yields no image", ""),
    "channels of one name": (
        block("data", channels=["t1", "t1"]),
        "channels:",
        "data.channels",
        '"t1"',
    ),
    "unknown device": (block(device="gpu"), "device:", '"gpu" is not a device', "cuda:1"),
    "case that leaves its folder": (
        lambda config: config["data"]["cases"][0].update(name="../x"),
        "../x",
        "data.cases[0].name",
        "cannot be part of a file name",
    ),
}
