"""Faults of labels, of how they are decided and of postprocessing: their line, what is said."""

from tests.cli.faults import Change, block

FAULTS_OF_LABELS: dict[str, tuple[Change, str, str, str]] = {
    "label below zero": (block(labels={-1: "a", 1: "liver"}), "labels:", "labels: -1", "0 or more"),
    "background under sigmoid": (
        block(labels={0: "core", 1: "liver"}, activation="sigmoid"),
        "labels:",
        'labels: 0 cannot be the label "core"; 0 is the background',
        "number the labels from 1",
    ),
    "list of labels": (block(labels=["liver"]), "labels:", "labels: ", "{1: liver}"),
    "name of a name": (
        block(labels={"liver": "tumour"}),
        "liver: tumour",
        "labels.liver: give the integer of the label",
        "whole: [1, 2, 4]",
    ),
    "names and integers as labels": (
        block(labels={1: "liver", "core": [1, 4]}),
        "labels:",
        'labels: 1 is an integer and "core" a name',
        "write all labels one way",
    ),
    "integer twice in a region": (
        block(labels={"whole": [1, 1]}),
        "labels:",
        'labels: "whole": 1 is listed twice',
        "",
    ),
    "two labels of the same integers": (
        block(labels={"a": [1, 2], "b": [2, 1]}),
        "labels:",
        'labels: "a" and "b" are the same integers (1, 2)',
        "leave one of them out",
    ),
    "region with the background": (
        block(labels={"a": [0, 1]}),
        "labels:",
        'labels: "a": 0 is the background',
        "",
    ),
    "region without an integer": (
        block(labels={"whole": []}),
        "whole: []",
        "labels.whole: give the integer of the label",
        "",
    ),
    "region like a file name": (
        block(labels={"a_desc-b": 1}),
        "a_desc-b",
        '"a_desc-b" cannot be the name of a label',
        "",
    ),
    "region_order that misses a label": (
        block(labels={"whole": [1, 2], "core": 1}, region_order=["whole"]),
        "region_order:",
        'region_order: "core" is missing',
        "list every label once",
    ),
    "region_order of no label": (
        block(labels={"whole": [1, 2], "core": 1}, region_order=["whole", "cor"]),
        "region_order:",
        'region_order: no label "cor"',
        'did you mean "core"',
    ),
    "region_order without labels": (
        block(labels={"whole": [1, 2], "core": 1}, region_order=[]),
        "region_order:",
        'region_order: "whole" and "core" are missing',
        "",
    ),
    "region_order of an unknown integer": (
        block(labels={"whole": [1, 2], "core": 1}, region_order=[2, 7]),
        "region_order:",
        'region_order: 7 is not an integer of "core" (1)',
        "",
    ),
    "region_order of too few integers": (
        block(labels={"whole": [1, 2], "core": 1}, region_order=[2]),
        "region_order:",
        "region_order: 1 integer for 2 labels (whole, core)",
        "",
    ),
    "region_order of integers by integer": (
        block(region_order=[1, 2]),
        "region_order:",
        'region_order: no label "2"',
        "",
    ),
    "ignored label": (
        block(ignore_label=1),
        "ignore_label:",
        'ignore_label: 1 belongs to the label "liver"; an ignored integer cannot belong to a label',
        "",
    ),
    "ignored text": (block(ignore_label="x"), "ignore_label:", "ignore_label: ", ""),
    "threshold above 1": (
        block(activation="sigmoid", threshold=1.5),
        "threshold:",
        "threshold: must be between 0 and 1 (found 1.5)",
        "",
    ),
    "threshold of one label": (
        block(activation="sigmoid", threshold={"liver": 0}),
        "threshold:",
        'threshold of "liver": must be between 0 and 1 (found 0.0)\n',
        "",
    ),
    "threshold of no label": (
        block(activation="sigmoid", threshold={"livr": 0.4}),
        "threshold:",
        'threshold: no label "livr"',
        'did you mean "liver"',
    ),
    "threshold under softmax": (
        block(threshold=0.4),
        "threshold:",
        "threshold: under softmax the largest probability is predicted",
        "",
    ),
    "masks of one file": (
        block(labels={1: "a b", 2: "a-b"}, activation="sigmoid", targets=[{"label": "a b"}]),
        "labels:",
        'labels: the masks of "a b" and "a-b" would have the same file',
        "",
    ),
    "unknown step": (
        block(postprocessing={"keep_larges": True}),
        "keep_larges",
        "postprocessing.keep_larges: unknown key",
        '"keep_largest"',
    ),
    "step of no label": (
        block(postprocessing={"fill_holes": ["livr"]}),
        "postprocessing:",
        'postprocessing: fill_holes: no label "livr"',
        'did you mean "liver"',
    ),
    "volume below zero": (
        block(postprocessing={"min_volume_ml": {"liver": -1}}),
        "postprocessing:",
        "postprocessing: min_volume_ml: -1.0 must be a volume above 0 ml",
        "",
    ),
}
