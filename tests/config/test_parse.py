"""Faults of files that a config names are placed in the config; what else fails keeps its shape."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from esegeta.config import load_config
from esegeta.config.one_line import label_names
from esegeta.config.parse import blamed_on
from esegeta.errors import ConfigError, DiskFullError, EsegetaError
from tests.config.short import keys_of


def test_an_os_error_about_a_file_is_reported_with_its_line(tmp_path: Path) -> None:
    keys_of(tmp_path)
    config = load_config(tmp_path / "x.yaml")
    place = config.document.place(("data", "cases"))
    said = f"^{place}: a.nii: no space; free disk space and run again"
    with pytest.raises(DiskFullError, match=said), blamed_on(config, "data", "cases"):
        raise OSError(errno.ENOSPC, "no space", "a.nii")


@pytest.mark.parametrize("error", [OSError("odd"), OSError(errno.EINVAL, "odd")])
def test_an_error_beyond_the_user_is_raised_unchanged(error: OSError, tmp_path: Path) -> None:
    keys_of(tmp_path)
    config = load_config(tmp_path / "x.yaml")
    with pytest.raises(OSError) as caught, blamed_on(config, "data", "cases"):
        raise error
    assert caught.value is error and not isinstance(caught.value, EsegetaError)


def test_labels_with_only_a_background_are_refused(tmp_path: Path) -> None:
    keys_of(tmp_path, labels={0: "background", 2: "liver", 1: "lobe"})
    assert label_names(load_config(tmp_path / "x.yaml")) == ["liver", "lobe"]
    keys_of(tmp_path, labels={0: "background"})
    with pytest.raises(ConfigError, match="the model has no labels; give them: --set labels="):
        label_names(load_config(tmp_path / "x.yaml"))


def test_an_option_without_a_value_leaves_its_key_out(tmp_path: Path) -> None:
    keys_of(tmp_path, seed=5)
    path = tmp_path / "x.yaml"
    assert [load_config(path, options).keys.seed for options in ([], ["seed="])] == [5, 0]
