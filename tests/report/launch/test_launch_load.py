"""The load test sends the planned requests, and ``tokenroof validate`` knows what its result is of."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
from launch_plans import PLANS, files_of, lines_of, requests

from tokenroof.calibrate.readers.detect import read_results
from tokenroof.workload.core import Prefixes
from tokenroof.workload.readers.detect import read_trace
from tokenroof.workload.readers.mooncake import Mooncake


def test_a_trace_has_every_request() -> None:
    text = files_of(PLANS["vllm-one"])["requests.jsonl"].text
    assert lines_of(text) == [[0.0, 512, 100, [0]], [250.0, 1012, 101, [1, 2]], [500.0, 1512, 102, [3, 4, 5]]]


def test_what_is_shared_keeps_its_identity() -> None:
    prefixes = Prefixes(
        block_tokens=256, start=np.array([0, 1, 3, 9]), ids=np.array([7, 7, 2, 7, 2, 3, 4, 5, 6])
    )
    found = files_of(PLANS["vllm-one"], traffic=requests(prefixes=prefixes))
    rows = lines_of(found["requests.jsonl"].text)
    assert [row[3] for row in rows] == [[7, 8], [7, 2, 9, 10], [7, 2, 3, 4, 5, 6]]
    assert "--timed-trace-chunk-hash-size 256" in found["load-test-vllm.sh"].text
    assert "hash_id_block_size=256" in found["load-test-guidellm.sh"].text


def test_the_simulator_reads_the_trace_as_it_was(tmp_path: Path) -> None:
    planned = requests(20)
    path = tmp_path / "requests.jsonl"
    path.write_text(files_of(PLANS["vllm-one"], traffic=planned)["requests.jsonl"].text)
    read = read_trace(path, format=Mooncake()).requests(0)
    np.testing.assert_allclose(read.arrival_s, planned.arrival_s)
    np.testing.assert_array_equal(read.isl_tokens, planned.isl_tokens)
    np.testing.assert_array_equal(read.osl_tokens, planned.osl_tokens)


def test_limits_and_loops_are_the_clients() -> None:
    opened = files_of(PLANS["vllm-one"])["load-test-vllm.sh"].text
    assert "--goodput ttft:1000 tpot:40" in opened
    assert "--max-concurrency" not in opened
    found = files_of(PLANS["vllm-one"], traffic=requests(concurrency=2))
    assert "--no-self-timed" in found["load-test-vllm.sh"].text
    assert "--max-concurrency 2 " in found["load-test-vllm.sh"].text
    assert "--profile kind=concurrent,streams=2 " in found["load-test-guidellm.sh"].text


@pytest.mark.parametrize("name", ["vllm-one", "sglang-replicas", "vllm-experts", "trtllm-apart"])
def test_a_result_says_what_it_is_of(name: str, tmp_path: Path) -> None:
    """The columns that the command writes into vLLM's result, and those that the note gives GuideLLM's."""
    found = files_of(PLANS[name])
    words = shlex.split(found["load-test-vllm.sh"].text.replace("\\\n", " ").splitlines()[-1])
    stated = dict(word.split("=", 1) for word in words[words.index("--metadata") + 1 :])
    result = {
        "completed": 3,
        "duration": 10.0,
        "total_input_tokens": 3036,
        "total_output_tokens": 303,
        "mean_ttft_ms": 100.0,
        "mean_tpot_ms": 20.0,
        "request_rate": "inf",
        **stated,
    }
    path = tmp_path / "result-vllm.json"
    path.write_text(json.dumps(result))
    given = dict(re.findall(r"--set (\w+)=(\S+)", found["load-test-vllm.sh"].note))
    (row,) = read_results(path, given=given)
    assert row.problem == ""
    assert {key: row.values[key] for key in stated} == stated
    assert row.values["model"] == PLANS[name].model.name
    chips = sum(each.parallel.chips * each.replicas for each in PLANS[name].pools)
    assert row.values["num_gpus"] == str(chips)
    other = dict(re.findall(r"--set (\w+)=(\S+)", found["load-test-guidellm.sh"].note))
    assert other == given | stated


@pytest.mark.parametrize("name", PLANS)
def test_scripts_are_shell(name: str, tmp_path: Path) -> None:
    for file in files_of(PLANS[name]).values():
        if file.written and file.name.endswith(".sh"):
            path = tmp_path / file.name
            path.write_text(file.text)
            subprocess.run(["sh", "-n", str(path)], check=True)


def test_the_script_starts_what_belongs_to_its_host(tmp_path: Path) -> None:
    """With stand-ins for the programs, every host starts its processes with its chips and addresses."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("python3", "pip"):
        (tools / tool).write_text('#!/bin/sh\necho "$CUDA_VISIBLE_DEVICES: $0 $*" >> "$LOG"\n')
        (tools / tool).chmod(0o755)
    path = tmp_path / "launch.sh"
    path.write_text(files_of(PLANS["sglang-hosts"])["launch.sh"].text)
    seen = []
    for host in range(4):
        log = tmp_path / f"log-{host}"
        env = {f"HOST_{i}": f"10.0.0.{i}" for i in range(4)} | {"PATH": f"{tools}:/bin:/usr/bin"}
        subprocess.run(
            ["sh", str(path), str(host)], check=True, env=env | {"LOG": str(log), "CUDA_VISIBLE_DEVICES": ""}
        )
        seen.append(sorted(log.read_text().splitlines()))
    assert [len(lines) for lines in seen] == [3, 1, 1, 1]
    assert "--node-rank 1 --dist-init-addr 10.0.0.2:29532" in seen[3][0]
    assert seen[3][0].startswith("0,1,2,3,4,5,6,7: ")
    assert any("--worker-urls http://10.0.0.0:8001 http://10.0.0.2:8002" in line for line in seen[0])
