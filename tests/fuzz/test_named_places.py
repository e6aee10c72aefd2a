"""Folders, disks and locales that once ended in a traceback, by hand: each says what to mend."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.experiments import esegeta, unet_lab
from tests.fuzz.contract import refused


def test_a_file_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path, shape=(9, 8, 8))
    lab.root.mkdir(parents=True)
    (lab.root / "a").write_text("in the way")
    result = lab.run()
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert "there is a file where a folder should be" in result.output
    assert (lab.root / "a").read_text() == "in the way"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_folder_is_refused(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)
    lab.keys["data"]["cases"] = "closed"
    refused(lab, "Permission denied", "validate", lab.write())
    closed.chmod(0o700)


def test_a_file_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    folder = tmp_path / "images"
    folder.mkdir()
    source = (tmp_path / "a.nii.gz").read_bytes()
    (folder / os.fsdecode(b"a\xff.nii.gz")).write_bytes(source)
    lab.keys["data"]["cases"] = "images"
    refused(lab, "half a character", "validate", lab.write())


ENTRY = [sys.executable, "-c", "from esegeta.cli import main; main()"]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["methods", "scores"])
def test_printing_to_a_full_disk_is_reported(command: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*ENTRY, command], stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    assert b"free disk space" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("more", "code"), [({}, 0), ({"PYTHONUTF8": "0"}, 2)])
def test_names_with_umlauts_are_written_or_refused_in_an_ascii_locale(
    more: dict[str, str], code: int, tmp_path: Path
) -> None:
    """Under LC_ALL=C Python takes UTF-8 all the same, unless it is told not to."""
    lab = unet_lab(tmp_path, shape=(9, 8, 8))
    lab.keys["name"] = "gr\u00f6\u00dfe"
    lab.keys["methods"] = ["saliency"]
    done = subprocess.run(
        [*ENTRY, "run", str(lab.write())],
        env={**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", **more},
        capture_output=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert b"Traceback" not in done.stderr
    assert (b"set PYTHONUTF8=1" in done.stderr) == bool(code)
    assert len(list(tmp_path.rglob("*_attrmap.nii.gz"))) == (0 if code else 1)


def test_paths_beside_a_config_in_a_linked_folder_are_found_unless_ambiguous(
    tmp_path: Path,
) -> None:
    """What stands beside the config is found; what could be two files is not guessed."""
    real, around = tmp_path / "real" / "inner", tmp_path / "around"
    real.mkdir(parents=True)
    around.mkdir()
    lab = unet_lab(real, shape=(9, 8, 8))
    lab.write()
    (around / "link").symlink_to(real)
    assert esegeta("validate", around / "link" / "tiny.yaml").exit_code == 0
    for folder in (around, real.parent):
        (folder / "b.nii.gz").write_bytes((real / "a.nii.gz").read_bytes())
    lab.keys["data"]["cases"][0]["image"] = "../b.nii.gz"
    lab.write()
    refused(lab, "could be", "validate", around / "link" / "tiny.yaml")
    (around / "b.nii.gz").unlink()
    assert esegeta("validate", around / "link" / "tiny.yaml").exit_code == 0
