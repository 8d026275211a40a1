"""The compiled kernel and the same code as plain Python say the same; so does the same seed twice."""

import inspect
import json
import os
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_setups import Case, requests, setup

from tokenroof.serve.invariants import check, digest
from tokenroof.serve.kernel import advance
from tokenroof.serve.results import Run
from tokenroof.serve.run import simulate

CASES = {
    "tight": Case(tight=True, levels=True, seed=1),
    "shared": Case(rule="vllm, short chunks", shared=True, tiers=True, tight=True, load="sessions", seed=2),
    "stages": Case(ways="all", rule="sglang", replicas=3, router="power of two", tight=True, seed=3),
    "apart": Case(ways="stages", decode_ways="data parallel", rule="trtllm", apart=True, replicas=2, seed=4),
    "drafts": Case(rule="trtllm, most use", drafts=True, graphs=True, fixed=True, load="closed", seed=5),
    "static": Case(
        ways="context parallel", rule="static", router="session affinity", load="sessions", seed=6
    ),
    "ahead": Case(
        rule="sglang", replicas=2, ahead=True, shared=True, tiers=True, tight=True, load="closed", seed=8
    ),
    "polls": Case(rule="sglang", ahead=True, interval=7, tight=True, levels=True, seed=10),
    "ahead, apart": Case(rule="vllm, short chunks", ahead=True, apart=True, tight=True, replicas=2, seed=9),
    "mixed": Case(
        rule="sglang, mixed", router="prefix affinity", replicas=2, shared=True, tiers=True, seed=7
    ),
}
COUNT = 50


def served(case: Case) -> Run:
    run = simulate(setup(case), requests(case, COUNT))
    assert check(run) == ()
    return run


def columns(run: Run) -> dict[str, Any]:
    """Everything that came of a run, floats with all their digits."""
    out = {column.name: getattr(run.log, column.name) for column in fields(run.log)}
    out |= {f"replica {name}": values for name, values in run.replicas.items()}
    out |= {f"tier {name}": values for name, values in run.tiers.items()}
    out |= {f"visits {pool}": values for pool, values in enumerate(run.visits)}
    out |= {f"segment {name}": run.segments[name] for name in run.segments.dtype.names or ()}
    out |= {"timeline": run.timeline, "itl": run.itl_counts, "end": np.array([run.end_s])}
    return out


def write_plain(folder: Path) -> None:
    """What the other process does: serve all cases, and keep what came of it."""
    assert inspect.isfunction(advance), "it is compiled"
    digests = {}
    for name, case in CASES.items():
        run = served(case)
        digests[name] = digest(run)
        np.savez(folder / f"{name}.npz", **columns(run))
    (folder / "digests.json").write_text(json.dumps(digests))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the results of a process that compiles nothing."""
    folder = tmp_path_factory.mktemp("plain")
    here = Path(__file__)
    code = "import sys, pathlib, test_compiled; test_compiled.write_plain(pathlib.Path(sys.argv[1]))"
    found = [str(here.parent), *(path for path in sys.path if path)]
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": os.pathsep.join(found)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("name", CASES)
def test_compiled_is_plain(name: str, plain: Path) -> None:
    """Every column bit for bit."""
    run = served(CASES[name])
    with np.load(plain / f"{name}.npz") as expected:
        for column, values in columns(run).items():
            np.testing.assert_array_equal(values, expected[column], err_msg=column)
    assert json.loads((plain / "digests.json").read_text())[name] == digest(run)


@pytest.mark.parametrize("name", CASES)
def test_the_same_seed_gives_the_same_bytes(name: str) -> None:
    assert digest(served(CASES[name])) == digest(served(CASES[name]))


def test_another_seed_routes_otherwise() -> None:
    """Of the same requests: what is drawn inside the run is the router's choice."""
    case = CASES["stages"]
    one, other = (simulate(setup(each), requests(case, COUNT)) for each in (case, replace(case, seed=99)))
    assert not np.array_equal(one.log.replica, other.log.replica)
