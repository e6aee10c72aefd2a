"""Where the sample that comes with the package lies: a CT, its labels, and a small network."""

from __future__ import annotations

from pathlib import Path

from esegeta.errors import MissingFileError

PACKAGE = Path(__file__).parent
DEMO = Path("configs", "demo.yaml")


def demo_config() -> Path:
    """Return the config of the demo, from the installed package or else from the checkout.

    Raises:
        MissingFileError: neither is there.
    """
    for root in (PACKAGE / "samples", PACKAGE.parent):
        if (root / DEMO).is_file():
            return root / DEMO
    raise MissingFileError(
        f"{PACKAGE / 'samples'}: the sample is missing", hint="install the package again"
    )


def sample(*parts: str) -> Path:
    """Return the path of a file below the samples' folder, without checking that it exists."""
    return demo_config().parents[1].joinpath("data_samples", *parts)
