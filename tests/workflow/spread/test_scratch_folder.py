"""Where workers keep Dask's own files: paths with variables of the machine that they run on."""

import subprocess
import tempfile
from pathlib import Path

import pytest

from esegeta.config.cluster import ClusterKeys
from esegeta.errors import ConfigError
from esegeta.workflow.spread.scratch_folder import job_scratch, local_scratch
from tests.experiments import refused, unet_lab


def test_workers_of_this_machine_have_a_folder_in_which_names_are_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("DISK", "/disk")
    for scratch, path in (
        (None, tempfile.gettempdir()),
        ("~/x", "/home/ada/x"),
        ("$DISK/${DISK}-a", "/disk//disk-a"),
        ("/local/~x", "/local/~x"),
    ):
        assert local_scratch(ClusterKeys(scratch=scratch)) == path


@pytest.mark.parametrize("value", [None, ""])
def test_without_tmpdir_the_systems_temporary_folder_is_meant(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/systems")
    monkeypatch.delenv("TMPDIR", raising=False)
    if value is not None:
        monkeypatch.setenv("TMPDIR", value)
    assert local_scratch(ClusterKeys(scratch="${TMPDIR}/x")) == "/systems/x"


def test_the_home_of_nobody_is_refused() -> None:
    with pytest.raises(ConfigError, match="no such user"):
        local_scratch(ClusterKeys(scratch="~nobody-of-that-name/x"))


def test_a_variable_that_is_not_set_here_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("dask_jobqueue")
    monkeypatch.chdir(tmp_path)
    lab = unet_lab(tmp_path, shape=(8, 8, 8))
    lab.keys["cluster"] = {"kind": "local", "workers": 1, "scratch": "$NO_SUCH/x"}
    refused(lab.run(), lab, "cluster.scratch: $NO_SUCH/x: $NO_SUCH is not set on this machine")
    assert not (tmp_path / "$NO_SUCH").exists()


@pytest.mark.parametrize("shell", ["bash", "sh"])
@pytest.mark.parametrize(
    ("scratch", "given", "path"),
    [
        (None, {}, "/tmp"),
        ("{here}/a", {}, "{here}/a"),
        ("$A", {"A": "{here}/a"}, "{here}/a"),
        ("$A/${{B}}-x", {"A": "{here}", "B": "b"}, "{here}/b-x"),
        ("~/x", {"HOME": "{here}/home"}, "{here}/home/x"),
        ("~/$B", {"HOME": "{here}/home", "B": "b"}, "{here}/home/b"),
        ("$A/${{B}}-x", {"A": "{here}", "TMPDIR": "{here}/my disk"}, "{here}/my disk"),
        ("$A", {"A": "", "TMPDIR": "{here}/t"}, "{here}/t"),
        ("$TMPDIR", {"TMPDIR": "{here}/t"}, "{here}/t"),
        ("$TMPDIR", {}, "/tmp"),
        ("$A/x", {}, "/tmp"),
    ],
)
def test_a_job_has_a_folder_whatever_is_set_on_its_node(
    scratch: str | None, given: dict[str, str], path: str, shell: str, tmp_path: Path
) -> None:
    scratch = None if scratch is None else scratch.format(here=tmp_path)
    lines, word = job_scratch(ClusterKeys(kind="slurm", workers=1, scratch=scratch))
    script = "\n".join([*lines, f"printf '<%s>' --local-directory {word} --nthreads"])
    env = {"PATH": "/usr/bin:/bin"}
    env |= {name: value.format(here=tmp_path) for name, value in given.items()}
    call = [shell, "-euc", script]
    found = subprocess.run(call, env=env, capture_output=True, text=True, check=True).stdout
    path = path.format(here=tmp_path)
    assert found == f"<--local-directory><{path}><--nthreads>"
    assert Path(path).is_dir()
