"""Two tests run at the same time on two cores, so each of them uses one thread."""

import os
import signal

import pytest

# A shell starts what it runs in the background with SIGINT ignored, which programs inherit. A
# handler is inherited as the default. Code between fork and exec (preexec_fn) could set that, too,
# but in a process with threads it may never get to exec.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Before torch is imported; programs that a test starts inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture
def png_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs in this process draw only the PNG: PDF and SVG take half of a toy run's time."""
    from cvae import run_figure

    monkeypatch.setattr(run_figure, "FORMATS", ("png",))
