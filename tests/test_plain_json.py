"""JSON of others is read with care; hashes of plain values stay what records were kept under."""

import hashlib
from pathlib import Path

import pytest

from esegeta.plain_json import json_sha256, parse_json


def test_the_hash_of_values_is_that_of_their_sorted_json() -> None:
    text = '{"a": [1, 2.5, null], "b": {"c": "\\u00e9", "d": true}}'
    values = {"b": {"d": True, "c": "é"}, "a": (1, 2.5, None)}
    assert json_sha256(values) == hashlib.sha256(text.encode()).hexdigest()
    assert json_sha256(["b", "a"]) == hashlib.sha256(b'["b", "a"]').hexdigest()


def test_what_json_has_no_form_of_is_hashed_only_by_a_default() -> None:
    with pytest.raises(TypeError):
        json_sha256({"path": Path("a")})
    assert json_sha256({"path": Path("a")}, default=str) == json_sha256({"path": "a"})


def test_brackets_that_are_nested_too_deeply_are_no_json() -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json("[" * 200_000)
