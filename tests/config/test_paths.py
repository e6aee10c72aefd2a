"""Texts that can be no path or no name are refused before any file is looked for."""

from __future__ import annotations

import os

import pytest

from esegeta.config.keys import fault_of_name
from esegeta.config.paths import as_path
from esegeta.errors import DataError


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "^'' is not a path; give the path of a file or a folder$"),
        (" \t", "is not a path; give the path of a file or a folder$"),
        ("a\0b.nii", r"^'a\\x00b.nii' is not a path; it holds a NUL character$"),
        ("x/" + "a" * 256, "a name has 256 bytes, but at most 255 are allowed$"),
        ("abc/" * 1024 + "d", "it has 4097 bytes, but at most 4096 are allowed$"),
    ],
)
def test_invalid_paths_are_refused(text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        as_path(text)


def test_characters_beyond_the_file_system_encoding_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "fsencode", lambda text: str(text).encode("ascii"))
    name = r"'l\\xe9sion'"
    with pytest.raises(DataError, match=f"^{name} is not a path here: file names are encoded as"):
        as_path("l\u00e9sion")
    fault = fault_of_name("l\u00e9sion")
    assert fault.startswith(r"'l\xe9sion' cannot be part of a file name: file names are encoded as")
    assert (str(as_path("lesion")), fault_of_name("lesion")) == ("lesion", "")
