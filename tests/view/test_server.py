"""The server's begin and end: the address is said and opened, and Ctrl-C is no failure."""

from __future__ import annotations

import signal
import threading
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="the extra `view` is not installed")

import uvicorn

from esegeta.stop import Stopped
from esegeta.view import Session
from esegeta.view.server import ended_by_ctrl_c, serve


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Addresses of the sockets that would have been listened at."""
    found: list[tuple[str, int]] = []

    def run(server: uvicorn.Server, sockets: list[Any]) -> None:
        found.append(sockets[0].getsockname())
        raise Stopped(signal.SIGINT)

    monkeypatch.setattr(uvicorn.Server, "run", run)
    return found


@pytest.mark.parametrize("shown", [True, False])
def test_the_address_is_printed_and_opened_on_request(
    shown: bool, session: Session, served: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    said: list[str] = []
    serve(session, said.append, shown=shown)
    ((host, port),) = served
    address = said[0].removeprefix("open ")
    assert address.startswith(f"http://{host}:{port}/?token=") and host == "127.0.0.1"
    assert opened == ([address] if shown else [])
    assert not any(thread.name == "explaining" for thread in threading.enumerate())


@pytest.mark.parametrize("end", [KeyboardInterrupt(), Stopped(signal.SIGINT)])
def test_ctrl_c_ends_the_server_without_an_error(end: BaseException) -> None:
    with ended_by_ctrl_c():
        raise end


@pytest.mark.parametrize("end", [Stopped(signal.SIGTERM), OSError("odd")])
def test_other_errors_of_the_server_are_raised(end: BaseException) -> None:
    with pytest.raises(type(end)) as raised, ended_by_ctrl_c():
        raise end
    assert raised.value is end
