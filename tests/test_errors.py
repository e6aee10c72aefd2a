"""The exception tree, the hint in the message, and the nearest valid name."""

import errno
import inspect
import os

import pytest

from esegeta import errors
from esegeta.errors import (
    DiskFullError,
    EsegetaError,
    name_differently,
    or_else,
    suggest,
    told_by_system,
)


def test_every_error_derives_from_the_base_and_is_documented() -> None:
    kinds = [item for item in vars(errors).values() if inspect.isclass(item)]
    kinds = [kind for kind in kinds if kind.__module__ == errors.__name__]
    assert len(kinds) > 10
    for kind in kinds:
        assert issubclass(kind, EsegetaError)
        assert kind.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize(
    ("child", "parent"),
    [
        ("GridError", "DataError"),
        ("WeightsError", "ModelError"),
        ("LayerError", "ModelError"),
        ("WindowError", "ModelError"),
        ("EmptyTargetError", "TargetError"),
    ],
)
def test_the_tree_of_errors(child: str, parent: str) -> None:
    assert getattr(errors, child).__bases__ == (getattr(errors, parent),)


def test_hint_follows_the_message() -> None:
    error = errors.DataError("no file", hint="check the path")
    assert str(error) == "no file; check the path"
    assert (error.message, error.hint) == ("no file", "check the path")
    assert str(errors.DataError("no file")) == "no file"


def test_nearest_name_is_suggested() -> None:
    assert suggest("stps", ["steps", "baseline"]) == 'did you mean "steps"?'
    assert suggest("layer10", ["layer1", "layer100"]).startswith('did you mean "layer100"')


def test_without_a_near_name_all_are_listed() -> None:
    assert suggest("zebra", ["liver", "spleen"]) == "choose from: liver, spleen"
    assert suggest(7, [1, 2]) == "choose from: 1, 2"
    assert suggest("liver", []) == "none are known"


def test_an_alternative_follows_a_suggestion_as_its_own_sentence() -> None:
    near, far = suggest("nnunt", ["nnunet"]), suggest("zebra", ["nnunet"])
    assert or_else(near, "give a block") == 'did you mean "nnunet"? Or give a block'
    assert or_else(far, "give a block") == "choose from: nnunet, or give a block"


def test_duplicate_names_are_suggested_once() -> None:
    assert suggest("livr", ["liver", "lung", "liver"]) == 'did you mean "liver"?'
    assert suggest(9, [1, "x", 1, "x"]) == "choose from: 1, x"


def test_only_the_most_similar_of_many_names_are_listed() -> None:
    names = [f"model.{number}.submodule.conv" for number in range(97)]
    assert suggest("model.3.submodul.conv", names).startswith('did you mean "model.3.submodule')
    text = suggest("zzz", [*names, "bz", "z"])
    assert text.startswith(
        "choose from: z, bz, model.0.submodule.conv, model.1."
    ) and text.endswith(", and 94 more")
    assert text.count("model.") == 3


def test_a_key_is_renamed_in_messages_but_not_in_paths() -> None:
    error = EsegetaError(
        "inference.window: too small for /my/inference.window/net.py",
        hint="give `inference.window` more than in inference.window_a.yaml",
    )
    name_differently(error, "inference.window", "window")
    assert error.message == "window: too small for /my/inference.window/net.py"
    assert error.hint == "give `window` more than in inference.window_a.yaml"


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ECONNREFUSED, None])
def test_os_errors_that_do_not_concern_files_are_not_user_errors(number: int | None) -> None:
    error = OSError("no number") if number is None else OSError(number, os.strerror(number))
    assert told_by_system(error) is None


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOSPC, errno.ENOTDIR])
def test_os_errors_about_a_file_name_it(number: int) -> None:
    told = told_by_system(OSError(number, os.strerror(number), "/maps/a.nii"))
    assert told is not None and told.message == f"/maps/a.nii: {os.strerror(number)}"
    assert told.hint == errors.WITH_FILES[number]
    assert isinstance(told, DiskFullError) == (number == errno.ENOSPC)
