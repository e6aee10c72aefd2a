"""Ctrl-C and SIGTERM as one exception, which ends a command cleanly and says with which exit code.

All rooms may use it, like errors: the command line listens from the start, and the engine holds
signals off while it records.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
WORDS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


class Stopped(BaseException):
    """A signal asked the process to end; not an error, and not caught by `except Exception`.

    Args:
        number: number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_code(self) -> int:
        """128 plus the number of the signal, as shells have it: 130 or 143."""
        return 128 + self.number

    def __str__(self) -> str:
        return f"stopped by {WORDS.get(signal.Signals(self.number), f'signal {self.number}')}"


class _SignalState:
    """Whether signals are held off, and which one arrived meanwhile."""

    held = 0
    waiting: int | None = None


_STATE = _SignalState()


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise `Stopped` in the block when the process is interrupted or terminated.

    A second signal while the first one is being dealt with ends the process at once. Blocks may
    be nested. Outside the main thread, where Python receives no signals, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        for number in SIGNALS:
            signal.signal(number, _hear)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def signals_held() -> Iterator[None]:
    """Let a signal wait until the block has ended, so that what it writes is whole."""
    _STATE.held += 1
    try:
        yield
    finally:
        _STATE.held -= 1
        if not _STATE.held and _STATE.waiting is not None:
            number, _STATE.waiting = _STATE.waiting, None
            _raise(number)


def _hear(number: int, frame: FrameType | None) -> None:
    if _STATE.held:
        _STATE.waiting = number
        return
    _raise(number)


def _raise(number: int) -> None:
    for other in SIGNALS:  # whoever asks again does not want to wait for the recording
        signal.signal(other, signal.SIG_DFL)
    raise Stopped(number)
