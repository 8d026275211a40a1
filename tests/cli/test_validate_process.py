"""``validate`` with processes of its own: interrupted, and when one of them is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

RUN = [sys.executable, "-c", "import sys; from tokenroof.cli import main; sys.exit(main())"]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def children(pid: int) -> list[int]:
    """Its processes that predict rows."""
    found = Path(f"/proc/{pid}/task/{pid}/children")
    pids = [int(text) for text in found.read_text().split()] if found.exists() else []
    return [pid for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.fixture
def started():
    """A validation of the shipped rows that has begun; the process and its two workers."""
    run = subprocess.Popen(
        [*RUN, "validate", "--workers", "2", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Compiling cannot be interrupted: this is about processes, so they run the kernel as plain Python.
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
    )
    until = time.monotonic() + 60.0
    while len(children(run.pid)) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    workers = children(run.pid)
    assert len(workers) == 2
    yield run, workers
    run.kill()
    run.communicate()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"


def test_an_interrupt_ends_all_of_them(started):
    run, workers = started
    os.killpg(run.pid, signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert (run.returncode, out, err) == (130, "", "tokenroof: interrupted.\n")
    time.sleep(0.2)
    assert not any(alive(pid) for pid in workers)


def test_a_killed_process_is_said_in_one_line(started):
    run, workers = started
    os.kill(workers[0], signal.SIGKILL)
    out, err = run.communicate(timeout=60)
    assert (run.returncode, out) == (2, "")
    assert err.startswith("tokenroof: a process was killed, most likely for memory.")
    assert err.count("\n") == 1
    assert not alive(workers[1])
