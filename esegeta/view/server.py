"""The server: on this machine alone, until it is interrupted."""

from __future__ import annotations

import secrets
import signal
import socket
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from esegeta.errors import OutputError
from esegeta.stop import Stopped
from esegeta.view.app import create_app
from esegeta.view.jobs import Jobs
from esegeta.view.session import Session

HOST = "127.0.0.1"


def serve(
    session: Session, say: Callable[[str], None], *, port: int | None = None, shown: bool = False
) -> None:
    """Serve a session to browsers of this machine until the process is interrupted.

    Args:
        session: session that explains.
        say: called with the address.
        port: port of the address; any free one by default.
        shown: whether to open the address in a browser.

    Raises:
        OutputError: the port is taken.
    """
    with bound(port or 0) as listening, ended_by_ctrl_c():
        number, token = listening.getsockname()[1], secrets.token_urlsafe(24)
        jobs = Jobs()
        try:
            server = uvicorn.Server(settings(create_app(session, jobs, port=number, token=token)))
            address = f"http://{HOST}:{number}/?token={token}"
            say(f"open {address}")
            say("only from this machine, and only with the token; Ctrl-C stops it")
            if shown:
                webbrowser.open(address)
            server.run(sockets=[listening])
        finally:
            jobs.close()


@contextmanager
def ended_by_ctrl_c() -> Iterator[None]:
    """Let Ctrl-C end the block: that is its normal end, not a failure."""
    try:
        yield
    except KeyboardInterrupt:
        pass
    except Stopped as stopped:
        if stopped.number != signal.SIGINT:
            raise


def settings(app: object) -> uvicorn.Config:
    """Return how an application is served; no requests are logged, for they hold the token."""
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=1,
    )


def bound(port: int) -> socket.socket:
    """Return a socket on this machine's own address; port 0 takes any free one.

    Raises:
        OutputError: the port is taken.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
    except (OSError, OverflowError) as error:
        listening.close()
        raise OutputError(
            f"--port: {port} cannot be used ({getattr(error, 'strerror', None) or error})",
            hint="choose another, or leave it out to take any free port",
        ) from error
    return listening
