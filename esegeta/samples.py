"""Where the sample lies that comes with the package: a CT, its labels, and a small network."""

from __future__ import annotations

from pathlib import Path

from esegeta.errors import MissingFileError

PACKAGE = Path(__file__).parent
DEMO = Path("configs", "demo.yaml")


def demo_config() -> Path:
    """Return the config of the demo: in an installed package beside the code, else the checkout's.

    Raises:
        MissingFileError: neither is there.
    """
    for root in (PACKAGE / "samples", PACKAGE.parent):
        if (root / DEMO).is_file():
            return root / DEMO
    raise MissingFileError(
        f"{PACKAGE / 'samples'}: the sample is not there", hint="install the package again"
    )


def sample(*parts: str) -> Path:
    """Return the path of a file below the samples' folder; it is not asked whether it exists."""
    return demo_config().parents[1].joinpath("data_samples", *parts)
