"""What a path on the command line can be."""

from pathlib import Path

import pytest

from esegeta.config.recognise import recognise
from esegeta.errors import EsegetaError


@pytest.mark.parametrize("path", ["/dev/zero", "~nosuchuser/x"])
def test_what_can_be_no_network_is_refused_at_once(path: str) -> None:
    with pytest.raises(EsegetaError, match=r"device|no user"):
        recognise(Path(path))
