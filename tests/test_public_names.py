"""The names of `import esegeta` and of its rooms: each resolves, and none is imported early."""

import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import esegeta
from tests.each import for_each


def test_every_public_name_resolves() -> None:
    for name in esegeta.__all__:
        # A room with the name of a command is the command.
        assert getattr(esegeta, name).__name__ in (name, f"esegeta.{name}")
    assert dir(esegeta) == sorted([*esegeta.__all__, "__version__"])
    with pytest.raises(AttributeError, match="Salience"):
        _ = esegeta.Salience


def rooms() -> list[str]:
    found = pkgutil.walk_packages(esegeta.__path__, "esegeta.")
    return [module.name for module in found if module.ispkg]


@for_each(rooms())
def test_a_package_has_every_name_in_its_all(room: str) -> None:
    module = importlib.import_module(room)
    missing = [name for name in getattr(module, "__all__", ()) if not hasattr(module, name)]
    assert missing == []


def in_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_names_are_looked_up_without_importing_what_they_name() -> None:
    done = in_python(
        "import sys, esegeta; dir(esegeta); print({'torch', 'numpy'} & {*sys.modules})"
    )
    assert (done.stdout, done.stderr) == ("set()\n", "")


@pytest.mark.slow
def test_what_a_run_seldom_needs_is_not_imported_with_it() -> None:
    done = in_python(
        "import sys, esegeta.explain, esegeta.workflow;"
        "print({'SimpleITK', 'scipy.stats', 'sklearn', 'monai', 'captum'} & {*sys.modules})"
    )
    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_a_missing_name_suggests_the_nearest() -> None:
    done = in_python("import esegeta; esegeta.Salience")
    assert done.returncode == 1
    assert "Salience" in done.stderr and "Did you mean: 'Saliency'?" in done.stderr
    for wrong, near in (
        ("Saliancy", "Saliency"),
        ("load_volme", "load_volume"),
        ("comparr", "compare"),
    ):
        with pytest.raises(AttributeError, match=f'no "{wrong}".*{near}'):
            getattr(esegeta, wrong)


def test_a_package_that_is_also_a_command_shows_its_signature() -> None:
    import esegeta.api

    for name in ("run", "compare", "explain", "report", "concepts"):
        command = getattr(esegeta.api, name)
        found = getattr(esegeta, name)
        assert callable(found) and inspect.signature(found) == inspect.signature(command)
        assert found is command or found.__call__ is command


@pytest.mark.parametrize("room", ["compare", "predict", "report"])
def test_a_package_not_yet_imported_is_callable_as_a_command(
    room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module(f"esegeta.{room}")
    monkeypatch.delattr(esegeta, room)
    assert getattr(esegeta, room) is module and callable(module)


def test_import_star_imports_every_public_name() -> None:
    space: dict[str, object] = {}
    exec("from esegeta import *", space)
    assert {name for name in space if name != "__builtins__"} == set(esegeta.__all__)


def test_each_name_is_listed_once() -> None:
    stub = Path(esegeta.__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    lines = [line for line in stub.splitlines() if line.startswith("from ")]
    names = [line.split()[3] for line in lines]
    assert sorted(names) == esegeta.__all__
    # Type checkers take a name of a stub for public only where it is given under itself.
    assert all(
        line.endswith(f" import {name} as {name}") for line, name in zip(lines, names, strict=True)
    )


def test_a_package_is_imported_on_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    room = importlib.import_module("esegeta.compare")
    monkeypatch.delattr(esegeta, "compare", raising=False)
    assert esegeta.compare is room and callable(room)


@pytest.mark.slow
def test_packages_with_the_name_of_a_command_are_callable() -> None:
    assert {"compare", "predict", "report"} <= esegeta._ROOMS
    lines = [
        "import esegeta",
        f"for name in {sorted(esegeta._ROOMS)}:",
        "    assert callable(getattr(esegeta, name)), name",
        "import importlib",
        f"for name in {sorted(esegeta._ROOMS)}:",
        "    room = importlib.import_module('esegeta.' + name)",
        "    assert getattr(esegeta, name) is room and callable(room), name",
        "try:",
        "    esegeta.compare('/nowhere/at/all')",
        "except esegeta.EsegetaError as error:",
        "    print(error)",
    ]
    done = in_python("\n".join(lines))
    assert done.returncode == 0, done.stderr
    assert "/nowhere/at/all: no such folder" in done.stdout
