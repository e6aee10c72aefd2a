"""NiiVue in the package is the build that scripts/fetch_niivue fetches, with its licence."""

import hashlib
import re
from pathlib import Path

from esegeta.report.page.assets import static_text
from esegeta.report.page.sinks import LICENCE, SCRIPTS

FETCH = Path(__file__).parents[3] / "scripts" / "fetch_niivue"


def test_niivue_is_what_the_script_fetches() -> None:
    known = re.search(r"^build_sha256=(\w+)$", FETCH.read_text(), flags=re.MULTILINE)
    assert known
    build = static_text(SCRIPTS[0])
    assert hashlib.sha256(build.encode()).hexdigest() == known[1]


def test_its_licence_lies_beside_it_and_names_its_version() -> None:
    version = re.search(r"^version=(.+)$", FETCH.read_text(), flags=re.MULTILINE)
    assert version
    assert f"NiiVue {version[1]}" in static_text(LICENCE)
    assert "Redistributions in binary form must reproduce" in static_text(LICENCE)
