"""Ctrl-C and SIGTERM: one exception, held off while something is being written."""

import os
import signal
import threading

import pytest

from esegeta.stop import SIGNALS, Stopped, signals_held, stopped_by_signals


@pytest.mark.parametrize(
    ("number", "code", "text"),
    [(signal.SIGINT, 130, "stopped by Ctrl-C"), (signal.SIGTERM, 143, "stopped by SIGTERM")],
)
def test_a_signal_becomes_an_exception(number: int, code: int, text: str) -> None:
    before = [signal.getsignal(one) for one in SIGNALS]
    with pytest.raises(Stopped) as caught, stopped_by_signals():
        os.kill(os.getpid(), number)
        raise AssertionError("it went on")
    assert caught.value.exit_code == code
    assert str(caught.value) == text
    assert [signal.getsignal(one) for one in SIGNALS] == before


def test_a_signal_waits_while_signals_are_held() -> None:
    seen = []
    with pytest.raises(Stopped), stopped_by_signals():
        with signals_held():
            with signals_held():
                os.kill(os.getpid(), signal.SIGTERM)
                seen.append("inner")
            seen.append("outer")
        seen.append("behind")
    assert seen == ["inner", "outer"]


def test_nested_blocks_receive_a_signal_once() -> None:
    with stopped_by_signals():
        with pytest.raises(Stopped), stopped_by_signals():
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Stopped):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_second_signal_ends_the_process_at_once() -> None:
    with stopped_by_signals():
        with pytest.raises(Stopped):
            os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_other_threads_install_no_handler() -> None:
    seen = []

    def work() -> None:
        with stopped_by_signals():
            seen.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
