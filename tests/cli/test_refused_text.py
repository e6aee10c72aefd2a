"""Files and overrides that are no config at all: refused by what is wrong with their text."""

from pathlib import Path

import pytest

from tests.experiments import Lab, esegeta, pointwise_lab, refused

TEXTS = {
    "bad yaml": ("name: tiny\ntargets: [1, 2\nmethods: x\n", ":3: not YAML"),
    "tab": ("name: tiny\nmodel:\n\tkind: monai\n", ":3: not YAML"),
    "duplicate key": ("name: tiny\nseed: 1\nseed: 2\n", ':3: key "seed" is given twice'),
    "nested duplicate": ("data:\n  nan: zero\n  nan: refuse\n", ':3: key "nan" is given twice'),
    "key that is a mapping": ("name: tiny\noutput: {{case}}\n", ":2: not YAML"),
    "control characters": ("name: \x00\n", ": not YAML"),
    "python object": ("name: !!python/object:os.system {}\n", ":1: not YAML"),
    "list": (
        "- name: tiny\n",
        ":1: should be keys with values, as in `name: value` (found a",
    ),
    "scalar": ("3\n", ":1: should be keys with values, as in `name: value` (found the value '3')"),
    "empty": ("", ": the file is empty"),
    "comments alone": ("# nothing yet\n", ": the file is empty"),
    "not text": (b"\xff\xfe\x00\xd8", "cannot be read as text"),
}


@pytest.mark.parametrize("fault", TEXTS)
def test_text_that_is_not_a_config_is_refused(fault: str, tmp_path: Path) -> None:
    text, message = TEXTS[fault]
    lab = Lab(tmp_path, {})
    content = text if isinstance(text, bytes) else text.encode()
    lab.config.write_bytes(content)
    refused(esegeta("run", lab.config), lab, str(lab.config), message)


def test_a_missing_config_is_named(tmp_path: Path) -> None:
    lab = Lab(tmp_path, {})
    refused(esegeta("run", tmp_path / "no.yaml"), lab, f"{tmp_path / 'no.yaml'}: no such config")


def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0])
    lab.keys.update(sed=1, labells={})
    refused(lab.run(), lab, "sed: unknown key", "labells: unknown key")


OVERRIDES = {
    "seed": ("is not key=value", "--set"),
    "=3": ("is not key=value", "--set"),
    "methods.4.steps=3": ('"methods.4.steps": there is no key "4"',),
    "inference.window[7]=3": ('there is no key "7"',),
    "sede=3": ("sede: unknown key", '"seed"'),
    "methods[0].steps=3": ("methods[0].steps: unknown key of saliency",),
    "seed=[1, 2": ("is not a YAML value",),
    "seed=many": ("seed: ", "'many'"),
}


@pytest.mark.parametrize("override", OVERRIDES)
def test_a_bad_override_is_refused(override: str, tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0])
    refused(lab.run("--set", override), lab, *OVERRIDES[override])
