"""The command as a process: exit codes, streams, a reader that goes away."""

import signal
import subprocess
import sys
import time

RUN = [sys.executable, "-c", "import sys; from tokenroof.cli import main; sys.exit(main())"]
SMALL = ["estimate", "--model", "llama-3.1-8b", "--chip", "h100"]


def run(*arguments, **options):
    return subprocess.run(
        [*RUN, *arguments], capture_output=True, text=True, timeout=120, check=False, **options
    )


def test_an_answer_leaves_with_zero():
    done = run(*SMALL)
    assert (done.returncode, done.stderr) == (0, "")
    assert "time per output token" in done.stdout


def test_bad_input_leaves_with_two_and_one_line():
    done = run("estimate", "--model", "llama-3.1-8b", "--chip", "h1000")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("tokenroof: unknown chip 'h1000'. Nearest: h100")
    assert done.stderr.count("\n") == 1


def test_a_reader_that_goes_away_is_no_error():
    with subprocess.Popen(
        [*RUN, "prices", "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=120) == 1


def test_interrupting_is_one_line():
    slow = "import time, sys, tokenroof.cli.estimating as e; from tokenroof.cli import main;\n"
    slow += "def wait(given): print('asked', flush=True); time.sleep(60)\n"
    slow += "e._ask = wait; sys.exit(main())"
    with subprocess.Popen(
        [sys.executable, "-c", slow, *SMALL], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "asked\n"
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "tokenroof: interrupted.\n")


def test_output_without_unicode():
    done = run(*SMALL, env={"PYTHONIOENCODING": "ascii", "PATH": ""})
    assert (done.returncode, done.stderr) == (0, "")
