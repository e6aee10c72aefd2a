"""What looks like a number, a name or a folder and is none is refused as the config is read."""

from pathlib import Path

import pytest

from esegeta.config import list_cases, load_config
from esegeta.config.keys import fault_of_name, hidden_characters, twins_in
from esegeta.errors import ConfigError, OutputError
from esegeta.workflow.outputs import check_writable
from tests.experiments import Lab, unet_lab


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = unet_lab(tmp_path)
    lab.keys["methods"] = [{"name": "integrated_gradients", "steps": 3}]
    return lab


@pytest.mark.parametrize(
    ("option", "place"),
    [
        ("seed=true", "seed"),
        ('seed="3"', "seed"),
        ("version=true", "version"),
        ("inference.window=[true, 8, 8]", r"inference\.window\[0\]"),
        ("inference.batch_size=true", r"inference\.batch_size"),
        ("expected_dice=true", "expected_dice"),
        ("data.preprocess={spacing_mm: [true, 1, 1]}", r"spacing_mm\[0\]"),
        ("retrain={seeds: [false]}", r"retrain\.seeds\[0\]"),
        ("cluster={workers: true}", r"cluster\.workers"),
        ("inspect={layers: all, channels: true}", r"inspect\.channels"),
        ("methods.0.steps=true", r"methods\[0\]\.steps"),
        ('methods.0.steps="4"', r"methods\[0\]\.steps"),
        ("methods.0.tolerance=true", r"methods\[0\]\.tolerance"),
    ],
)
def test_booleans_and_text_are_refused_as_numbers(option: str, place: str, lab: Lab) -> None:
    with pytest.raises(ConfigError, match=place):
        load_config(lab.write(), [option])


def test_numbers_in_every_notation_are_accepted(lab: Lab) -> None:
    options = ["seed=1e3", "methods.0.steps=1e1", "labels.1=liver", "cluster.workers=2"]
    loaded = load_config(lab.write(), options)
    assert (loaded.keys.seed, loaded.methods["integrated_gradients"].steps) == (1000, 10)
    assert loaded.keys.cluster is not None and loaded.keys.cluster.workers == 2


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("inference.overlap=1.5", "inference.overlap: must be less than 1 (found 1.5)"),
        ("inference.overlap=-0.1", "inference.overlap: must be at least 0 (found -0.1)"),
        ("inference.memory_gb=0", "inference.memory_gb: must be greater than 0 (found 0)"),
        ("inference.batch_size=0", "inference.batch_size: must be at least 1 (found 0)"),
        ("inference.batch_size=auot", 'batch_size: "auot" is not known; did you mean "auto"?'),
        ("seed=1.5", "seed: must be a whole number (found 1.5)"),
        ("report=maybe", "report: must be true or false (found 'maybe')"),
        ("targets=[]", "targets: must have at least 1 value (found [])"),
        ("cluster={gpus_per_worker: -1}", "gpus_per_worker: must be at least 0 (found -1)"),
    ],
)
def test_a_violated_bound_is_reported_once_in_plain_words(option: str, told: str, lab: Lab) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(lab.write(), [option])
    (line,) = str(raised.value).splitlines()
    assert line.endswith(told)


UNSEEN = ("\u202e", "\u200b", "\u2066", "\u200f", "\ufeff", "\u00ad", "\u2060", "\U000e0041")
ONLY_IN_NAMES = ("\u200c", "\u200d", "\ufe0f", "\u3164", "\u2800", "\u034f")


@pytest.mark.parametrize("letter", (*UNSEEN, *ONLY_IN_NAMES))
def test_invisible_characters_are_refused_in_names(letter: str, lab: Lab) -> None:
    lab.keys["name"] = f"a{letter}b"
    with pytest.raises(ConfigError, match=f"name: .*invisible.*U\\+{ord(letter):04X}"):
        load_config(lab.write())
    assert bool(hidden_characters(f"a{letter}b")) == (letter in UNSEEN)


def test_letters_of_all_scripts_are_allowed_in_names() -> None:
    for name in (
        "gr\u00f6\u00dfe",
        "\u809d\u81d3",
        "\u0643\u0628\u062f",
        "\u092f\u0915\u0943\u0924",
        "a\u0301",
    ):
        assert not fault_of_name(name)


@pytest.mark.parametrize("label", ["=\u202e1", "li\u200bver"])
def test_invisible_characters_are_refused_in_labels(label: str, lab: Lab) -> None:
    lab.keys["labels"] = {1: label}
    with pytest.raises(ConfigError, match=r"labels\[?\.?1.*invisible"):
        load_config(lab.write())


@pytest.mark.parametrize(
    ("one", "other"), [("A", "a"), ("\u00e9", "e\u0301"), ("Stra\u00dfe", "STRASSE")]
)
def test_confusable_names_are_found(one: str, other: str) -> None:
    assert one in twins_in(["x", one, "y", other]) and other in twins_in([one, other])
    assert not twins_in([one, one, "z"])


def test_confusable_case_names_are_refused(lab: Lab, tmp_path: Path) -> None:
    lab.keys["data"]["cases"] = [{"name": name, "image": "a.nii.gz"} for name in "Aa"]
    with pytest.raises(ConfigError, match='"A" and "a" differ only in case'):
        list_cases(load_config(lab.write()))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("targets", [{"label": "liver", "name": name} for name in ("t", "T")]),
        ("methods", [{"name": "saliency", "id": name} for name in ("s", "S")]),
    ],
)
def test_confusable_target_and_method_names_are_refused(
    key: str, value: list[object], lab: Lab
) -> None:
    lab.keys[key] = value
    result = lab.validate()
    assert result.exit_code == 2
    assert f": {key}: " in result.output and "differ only in case" in result.output


def test_confusable_concepts_are_refused(lab: Lab) -> None:
    lab.keys["dissection"] = {"layers": "all", "concepts": {"liver": 1, "Liver": 1}}
    with pytest.raises(ConfigError, match="differ only in case"):
        load_config(lab.write())


@pytest.mark.parametrize("folder", ["/proc/x", "/sys/x/y", "/dev/null/x", "/dev/x"])
def test_an_unwritable_output_folder_is_refused(folder: str) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        check_writable(Path(folder))


def test_a_broken_link_or_a_file_as_parent_of_the_output_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    (tmp_path / "a.nii").touch()
    for name, words in (("link", "is a broken link"), ("a.nii", "not a folder")):
        with pytest.raises(OutputError, match=words):
            check_writable(tmp_path / name / "x")
    check_writable(tmp_path / "new" / "folder")
    assert not (tmp_path / "new").exists()
