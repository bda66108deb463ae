"""Ctrl-C and SIGTERM at any time: 130 and 143, and not a word."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from nanosae.cli import main
from nanosae.cli.signals import Stopped, stopping_on_signals

BOTH = [signal.SIGINT, signal.SIGTERM]


TRAIN = ["--k", "2", "--hidden-size", "16", "--steps", "1000000", "--log-every", "1"]


def heed_interrupts():
    """Undo what a shell does to commands in the background, which ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def _heeding_interrupts():
    """Heed Ctrl-C in this process, too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


# before its first line is printed, the interpreter itself would show a traceback
PROGRAM = "import sys, nanosae.__main__ as m; print(flush=True); sys.exit(m.main())"


def stopped(words, ready, number, tmp_path):
    """Start a command, send it a signal when it is ready; return its exit code and words.

    The code is that of a shell, to which it is the same if the signal ends the process itself.
    """
    environment = os.environ | {"PYTHONPATH": ":".join(sys.path)}
    command = [sys.executable, "-c", PROGRAM, *words]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    options = {"env": environment, "cwd": tmp_path, "preexec_fn": heed_interrupts}
    with subprocess.Popen(command, **streams, **options) as process:
        try:
            process.stdout.readline()
            ready()
            process.send_signal(number)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()  # one that does not stop; nothing to one that has
    code = process.returncode
    return code if code >= 0 else 128 - code, err.decode()


@pytest.mark.parametrize("number", BOTH)
def test_a_signal_in_a_command_gives_its_exit_code(
    number, tmp_path, monkeypatch, capfd
):
    from nanosae.runs import folder

    (tmp_path / "config.json").write_text('{"requested": {}}')
    monkeypatch.setattr(folder, "read_config", lambda _: signal.raise_signal(number))
    assert main(["info", str(tmp_path)]) == 128 + number
    assert capfd.readouterr().err == ""


def test_a_training_that_was_stopped_says_where(tmp_path, monkeypatch, capfd):
    from nanosae.runs import folder, signals

    def stop(_):
        raise signals.Stopped("stopped after step 6", signal.SIGTERM)

    (tmp_path / "config.json").write_text('{"requested": {}}')
    monkeypatch.setattr(folder, "read_config", stop)
    assert main(["info", str(tmp_path)]) == 143
    assert capfd.readouterr().err == "stopped after step 6\n"


@pytest.mark.parametrize("number", BOTH)
def test_a_library_that_makes_another_error_of_it_changes_nothing(
    number, tmp_path, monkeypatch, capfd
):
    from nanosae.runs import folder

    def interrupted_import(_):
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            raise ImportError("numpy.core.multiarray failed to import") from None

    (tmp_path / "config.json").write_text('{"requested": {}}')
    monkeypatch.setattr(folder, "read_config", interrupted_import)
    assert main(["info", str(tmp_path)]) == 128 + number
    assert capfd.readouterr().err == ""


def test_a_server_that_ends_on_ctrl_c_exits_with_130(tmp_path, monkeypatch):
    import nanosae

    def watch(*_):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            return

    monkeypatch.setattr(nanosae, "watch", watch, raising=False)
    assert main(["watch", str(tmp_path)]) == 130


def test_handlers_are_as_before_afterwards(tmp_path):
    before = [signal.getsignal(number) for number in BOTH]
    main(["info", str(tmp_path)])
    assert [signal.getsignal(number) for number in BOTH] == before


def test_ignored_signals_stay_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stopping_on_signals():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


class Signals:
    """Sends a signal to this process when it is forgotten."""

    def __del__(self):
        signal.raise_signal(signal.SIGTERM)


def test_a_signal_in_a_callback_comes_again():
    with stopping_on_signals():
        one = Signals()
        del one
        with pytest.raises(Stopped) as stop:
            time.sleep(10)
    assert stop.value.signal == signal.SIGTERM


def swallow_a_signal():
    """What some libraries do while they are imported."""
    with contextlib.suppress(BaseException):
        signal.raise_signal(signal.SIGTERM)


def test_a_signal_that_a_library_swallows_comes_again_until_the_end():
    with stopping_on_signals():
        for _ in range(3):
            swallow_a_signal()
            with pytest.raises(Stopped) as stop:
                time.sleep(10)
            assert stop.value.signal == signal.SIGTERM
        swallow_a_signal()
    time.sleep(0.7)  # and no longer


@pytest.mark.slow
def test_a_training_says_how_to_go_on(data, tmp_path):
    def steps():
        metrics = tmp_path / "run" / "metrics.jsonl"
        while not (metrics.exists() and metrics.stat().st_size):
            time.sleep(0.05)

    words = ["train", data, "-o", "run", *TRAIN]
    code, err = stopped(words, steps, signal.SIGTERM, tmp_path)
    assert code == 143
    assert "--resume" in err
    assert "Traceback" not in err


@pytest.mark.slow
@pytest.mark.parametrize("number", BOTH)
@pytest.mark.parametrize(
    "delay", [0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9, 1.1, 1.4, 1.7, 2]
)
def test_imports_can_be_interrupted(number, delay, data, tmp_path):
    words = ["train", data, "-o", "run", *TRAIN]
    code, err = stopped(words, lambda: time.sleep(delay), number, tmp_path)
    assert code == 128 + number
    assert "Traceback" not in err
    assert "error" not in err
