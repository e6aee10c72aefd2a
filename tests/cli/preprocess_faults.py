"""Faults of `data.preprocess`: how to make them, their line, and what the refusal says."""

from typing import Any

from tests.cli.faults import Change, block


def preprocess(**keys: Any) -> Change:
    return block("data", "preprocess", **keys)


def steps(*written: Any) -> Change:
    return preprocess(intensity=list(written))


def named(*names: str, of: Change) -> Change:
    def change(config: dict[str, Any]) -> None:
        config["data"]["channels"] = list(names)
        of(config)

    return change


FAULTS_OF_PREPROCESSING: dict[str, tuple[Change, str, str, str]] = {
    "unknown step": (
        steps("zscore", {"windw": [0, 1]}),
        "windw",
        "data.preprocess.intensity[1].windw: unknown key",
        'did you mean "window"?',
    ),
    "unknown word of a step": (
        steps("minmx"),
        "minmx",
        'data.preprocess.intensity[0]: "minmx" is not known',
        'did you mean "minmax"?',
    ),
    "step without its numbers": (
        steps("minmax", "ct"),
        "- ct",
        "data.preprocess.intensity[1]: ct needs its numbers",
        "write ct: {clip: [-1000, 1000], mean: 100, std: 75}",
    ),
    "two rules in a step": (
        steps({"zscore": True, "clip": [0, 1]}),
        "- zscore",
        "data.preprocess.intensity[0]: give one of window, percentile",
        "",
    ),
    "unknown voxels of a z-score": (
        steps({"zscore": {"over": "nozero"}}),
        "over: nozero",
        'intensity[0].zscore.over: "nozero" is not known',
        'did you mean "nonzero"?',
    ),
    "unknown key of a z-score": (
        preprocess(intensity={"zscore": {"ovr": "nonzero"}}),
        "ovr",
        "data.preprocess.intensity.zscore.ovr: unknown key",
        'did you mean "over"?',
    ),
    "ct without a std": (
        steps({"ct": {"clip": [0, 1], "mean": 3.0}}),
        "ct:",
        "data.preprocess.intensity[0].ct.std: missing",
        "",
    ),
    "empty step": (
        steps("minmax", {"clip": [4, 1]}),
        "- clip",
        "intensity clip: [4, 1] is empty",
        "lower bound first",
    ),
    "std of zero": (
        steps({"ct": {"clip": [0, 1], "mean": 3.0, "std": 0.0}}),
        "- ct:",
        "intensity ct: mean 3 and std 0 must be finite, and the std above 0",
        "",
    ),
    "unknown channel": (
        named("t1ce", of=steps({"minmax": True, "channels": ["t1c"]})),
        "channels:",
        'intensity rescale: there is no channel "t1c"',
        'did you mean "t1ce"?',
    ),
    "channel beyond the last": (
        steps({"zscore": True, "channels": [1]}),
        "channels:",
        "intensity zscore: there is no channel 1",
        "channels are counted from 0 to 0",
    ),
    "unknown place of a step": (
        steps({"zscore": True, "when": "befor_resampling"}),
        "befor",
        'intensity[0].when: "befor_resampling" is not known',
        'did you mean "before_resampling"',
    ),
    "crop by an unknown word": (
        preprocess(crop="foregound"),
        "crop:",
        'data.preprocess.crop: "foregound" is not known; did you mean "foreground"? Or give',
        'did you mean "foreground"?',
    ),
    "unknown key of a crop": (
        preprocess(crop={"abov": 3}),
        "abov",
        "data.preprocess.crop.abov: unknown key",
        'did you mean "above"?',
    ),
    "size of two lengths": (
        preprocess(crop_or_pad=[9, 9]),
        "crop_or_pad:",
        "preprocess.crop_or_pad has 2 values, a is 3D",
        "give 3 values",
    ),
    "size that is one number": (
        preprocess(crop_or_pad=9),
        "crop_or_pad:",
        "data.preprocess.crop_or_pad: give a list",
        "[96, 96, 96]",
    ),
    "size of no voxel": (
        preprocess(crop_or_pad={"size": [9, 0, 9]}),
        "  size:",
        "data.preprocess.crop_or_pad.size: give two or three lengths of 1 or more",
        "",
    ),
    "order of axes that misses one": (
        preprocess(transpose=[0, 2]),
        "transpose:",
        "data.preprocess.transpose: name each axis once",
        "[2, 1, 0]",
    ),
    "order of two axes": (
        preprocess(transpose=[1, 0]),
        "transpose:",
        "preprocess.transpose has 2 values, a is 3D",
        "give 3 values",
    ),
    "unknown order": (
        preprocess(order=2, spacing_mm=[1, 1, 1]),
        "order: 2",
        'data.preprocess.order: "2" is not known',
        "0, 1 or 3",
    ),
    "unknown treatment of a coarse axis": (
        preprocess(separate_axis="atuo", spacing_mm=[1, 1, 1]),
        "separate_axis:",
        'data.preprocess.separate_axis: "atuo" is not known',
        'did you mean "auto"?',
    ),
    "order without a spacing": (
        preprocess(order=3),
        "preprocess:",
        "order says how to resample; give spacing_mm",
        "",
    ),
    "unknown key": (
        preprocess(crop_or_pd=[1, 1, 1]),
        "crop_or_pd",
        "data.preprocess.crop_or_pd: unknown key",
        'did you mean "crop_or_pad"?',
    ),
}
