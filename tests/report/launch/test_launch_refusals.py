"""What cannot be launched is said with its reason and what helps."""

from dataclasses import replace

import pytest
from launch_plans import (
    BOTH,
    CATALOG,
    DECODE,
    DENSE,
    MOE,
    PLANS,
    PREFILL,
    files_of,
    plan,
    pool,
    requests,
)

from tokenroof.deploy.core import Deployment, Role
from tokenroof.errors import InputError
from tokenroof.report.launch import LaunchSettings

REFUSED = {
    "a chip without an engine": (plan(DENSE, pool("wse3", "vllm")), "no engine known here serves wse3"),
    "a chip of another family": (plan(DENSE, pool("arc-b60", "vllm", tp=8)), "serves arc-b60 of Intel"),
    "a projection": (plan(DENSE, pool("h200-hbf", "vllm", tp=4)), "h200-hbf is a projection"),
    "an engine for others": (plan(DENSE, pool("mi300x", "trtllm", tp=4)), "trtllm has no release for mi300x"),
    "no engine at all": (plan(DENSE, pool("h100", "generic", tp=4)), "generic has no release for h100"),
    "engines that differ": (
        plan(DENSE, pool("h100", "vllm", PREFILL, tp=4), pool("h100", "sglang", DECODE, tp=4)),
        "sglang and vllm do not hand caches",
    ),
    "hosts half used": (plan(MOE, pool("h100", "vllm", pp=13)), "13 chips of a replica"),
    "a slice of TPUs": (plan(DENSE, pool("tpu-v6e", "vllm", tp=16)), "16 chips are 2 hosts of 8"),
    "pools without a transport": (
        plan(DENSE, pool("tpu-v6e", "vllm", PREFILL, tp=8), pool("tpu-v6e", "vllm", DECODE, tp=8)),
        "no transport of caches",
    ),
    "pools of two vendors": (
        plan(DENSE, pool("h100", "vllm", PREFILL, tp=8), pool("mi300x", "vllm", DECODE, tp=8)),
        "hands caches from AMD to NVIDIA",
    ),
    "stages handed over": (
        plan(DENSE, pool("h100", "vllm", PREFILL, tp=4, pp=2), pool("h100", "vllm", DECODE, tp=8)),
        "no pipeline stages, the plan has pp=2",
    ),
    "experts half spread": (plan(MOE, pool("h200", "vllm", tp=8, ep=4)), "over all 8 chips of a stage"),
    "experts that are not there": (plan(DENSE, pool("h200", "sglang", tp=8, ep=8)), "has no experts"),
    "attention both ways": (plan(MOE, pool("h200", "trtllm", tp=4, dp=2, ep=8)), "tp=4 dp=2"),
    "a cache in an unknown format": (plan(DENSE, pool("b200", "vllm", tp=4), kv="int4"), "no cache in int4"),
    "halves of layers": (
        plan(DENSE, pool("h100", "vllm", Role.FEED_FORWARD, tp=8)),
        "attention and feed-forward layers apart",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_plan_without_a_launch_says_why(name: str) -> None:
    deployment, reason = REFUSED[name]
    found = files_of(deployment)
    assert len(found) == 8
    for file in found.values():
        assert not file.written
        assert reason in file.note, file.note


@pytest.mark.parametrize("name", PLANS)
def test_a_single_file_without_text_says_why(name: str) -> None:
    for file in files_of(PLANS[name]).values():
        assert file.note
        assert file.written or file.note.endswith(".") or "Use " in file.note


def test_single_files_are_refused_for_their_own_reasons() -> None:
    assert "MPI" in files_of(PLANS["trtllm-hosts"])["compose.yaml"].note
    assert files_of(PLANS["trtllm-hosts"])["dynamo.yaml"].written
    assert "run vLLM" in files_of(PLANS["sglang-one"])["llm-inference-service.yaml"].note
    assert "data parallelism" in files_of(PLANS["vllm-tensor-hosts"])["llm-inference-service.yaml"].note
    assert "NVIDIA" in files_of(PLANS["vllm-amd"])["dynamo.yaml"].note
    two = plan(DENSE, pool("h100", "vllm", BOTH, tp=4), pool("h200", "vllm", BOTH, tp=2))
    assert "one pool of each kind" in files_of(two)["llm-inference-service.yaml"].note


def test_conversations_are_not_sent() -> None:
    found = files_of(PLANS["vllm-one"], traffic=requests(follows=0))
    assert found["launch.sh"].written
    for name in ("requests.jsonl", "load-test-vllm.sh", "load-test-guidellm.sh"):
        assert not found[name].written
        assert "conversations" in found[name].note


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(InputError, match="chips_per_host must be at least 1, got 0"):
        LaunchSettings(chips_per_host=0)


@pytest.mark.parametrize(
    ("engine", "weights", "checkpoint", "flag"),
    [
        ("vllm", "bf16", "", ""),
        ("vllm", "fp8", "", "--quantization fp8"),
        ("sglang", "fp8", "", "--quantization fp8"),
        ("vllm", "nvfp4", "", "REPLACE/Llama-3.3-70B-Instruct-nvfp4"),
        ("trtllm", "fp8", "", "REPLACE/Llama-3.3-70B-Instruct-fp8"),
        ("vllm", "nvfp4", "nvidia/Llama-3.3-70B-Instruct-FP4", "serve nvidia/Llama-3.3-70B-Instruct-FP4"),
    ],
)
def test_weights_come_in_the_planned_format(engine: str, weights: str, checkpoint: str, flag: str) -> None:
    deployment = plan(DENSE, pool("b200", engine, tp=2), weights=weights)
    file = files_of(deployment, LaunchSettings(checkpoint=checkpoint))["launch.sh"]
    assert flag in file.text
    assert ("replace REPLACE/" in file.note) == ("REPLACE/" in file.text)
    assert ("--quantization" in file.text) == flag.startswith("--quantization")


def test_hosts_are_as_large_as_is_said() -> None:
    chip = replace(CATALOG.chip("h100"), name="mine", node="mine", scale_up=None)
    deployment: Deployment = plan(DENSE, pool(chip, "vllm", replicas=2, tp=4))
    assert "hosts of 8 chips are assumed; set chips_per_host" in files_of(deployment)["launch.sh"].note
    file = files_of(deployment, LaunchSettings(chips_per_host=4))["launch.sh"]
    assert "assumed" not in file.note
    assert "on each of the 2 hosts" in file.note
    torn = plan(MOE, pool("h100", "vllm", tp=4, pp=3))
    assert "size: 3" in files_of(torn)["kubernetes.yaml"].text, "6 chips of 8 would tear a group of 4"
    rack = plan(MOE, pool("gb200-nvl72", "vllm", dp=8, ep=8))
    assert "size: 2" in files_of(rack)["kubernetes.yaml"].text
