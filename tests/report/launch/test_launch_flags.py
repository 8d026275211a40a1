"""Every flag that any rendering emits is one that the documented version of the program has."""

import itertools
import re
import shlex

import pytest
from launch_plans import DENSE, PLANS, SETTINGS, containers, documents, files_of, plan, pool, settings_for

from tokenroof.catalog.catalog import load
from tokenroof.errors import InputError
from tokenroof.report.launch import LaunchSettings, PoolSettings
from tokenroof.report.launch.data import flag_list

PROGRAMS = {
    "vllm serve": "vllm",
    "vllm bench serve": "vllm-bench",
    "vllm-router": "vllm-router",
    "python3 -m sglang.launch_server": "sglang",
    "python3 -m sglang_router.launch_router": "sglang-router",
    "trtllm-serve disaggregated": "trtllm-disaggregated",
    "trtllm-serve": "trtllm",
    "guidellm run": "guidellm",
    "python3 -m dynamo.vllm": "dynamo-vllm",
    "python3 -m dynamo.sglang": "dynamo-sglang",
    "python3 -m dynamo.trtllm": "dynamo-trtllm",
}
TRTLLM_OPTIONS = {
    "kv_cache_config": {"dtype", "enable_block_reuse", "host_cache_size"},
    "enable_chunked_prefill": None,
    "enable_attention_dp": None,
    "disable_overlap_scheduler": None,
    "cache_transceiver_config": {"backend", "max_tokens_in_buffer"},
    "speculative_config": {
        *("decoding_type", "num_nextn_predict_layers"),
        *("max_draft_len", "speculative_model"),
    },
}
"""Of the LLM API of 1.2: nvidia.github.io/TensorRT-LLM/llm-api/reference."""


def commands(text: str) -> list[tuple[str, list[str]]]:
    """Commands in words: the program as above, and what follows."""
    found = []
    words = shlex.split(text)
    joined = " ".join(words)
    for program in sorted(PROGRAMS, key=len, reverse=True):
        if joined.startswith(program + " ") or joined == program:
            found.append((program, words[len(program.split()) :]))
            break
    return found


def command_lines(text: str) -> list[tuple[str, list[str]]]:
    """Commands of a shell script, variables in front of them left out."""
    whole = text.replace("\\\n", " ").splitlines()
    bare = (re.sub(r"^(\w+=\S+ +)*", "", line.removesuffix(" &").strip()) for line in whole)
    return [each for line in bare if line and line[0] != "#" for each in commands(line)]


def started(words: list[str]) -> list[tuple[str, list[str]]]:
    """The command that a container runs, by itself or at the end of a shell line."""
    in_shell = words[:2] == ["/bin/sh", "-c"]
    return commands(words[-1].split("exec ")[-1] if in_shell else shlex.join(words))


def emitted(name: str, document: dict) -> list[tuple[str, list[str]]]:
    """Commands of the containers and services of a manifest."""
    found = []
    for container in containers(document):
        found += started([*container.get("command", ()), *container.get("args", ())])
        for variable in container.get("env", ()):
            if variable["name"] == "VLLM_ADDITIONAL_ARGS":
                found.append(("vllm serve", shlex.split(variable["value"])))
    for service in document.get("services", {}).values():
        found += started([*service["entrypoint"], *service["command"]])
    assert found or document["kind"] in ("Service", "ConfigMap"), name
    return found


@pytest.mark.parametrize(("name", "settings"), [*itertools.product(PLANS, SETTINGS)])
def test_every_flag_is_documented(name: str, settings: str) -> None:
    deployment = PLANS[name]
    asked = settings_for(deployment, SETTINGS[settings], max_context_tokens=32768, checkpoint="x/y")
    seen = set()
    for file in files_of(deployment, asked).values():
        if not file.written or file.name.endswith((".jsonl", ".trtllm.yaml")):
            continue
        if file.name.endswith(".sh"):
            found = command_lines(file.text)
        else:
            found = [each for document in documents(file) for each in emitted(file.name, document)]
        assert found, file.name
        for program, words in found:
            flags = [word for word in words if re.fullmatch(r"--?[a-z][a-z0-9_-]*", word)]
            assert set(flags) <= flag_list(PROGRAMS[program]).flags, (file.name, program)
            repeated = {flag for flag in flags if flags.count(flag) > 1}
            assert repeated <= {"--prefill", "--decode"}, (file.name, program)
            seen.add(program)
    assert {"vllm bench serve", "guidellm run"} <= seen


@pytest.mark.parametrize("settings", SETTINGS)
def test_options_of_tensorrt_llm_are_documented(settings: str) -> None:
    for name, deployment in PLANS.items():
        asked = settings_for(deployment, SETTINGS[settings], max_context_tokens=8192)
        for file in files_of(deployment, asked).values():
            if file.name.endswith(".trtllm.yaml"):
                (document,) = documents(file)
                assert set(document) <= set(TRTLLM_OPTIONS), name
                for key, value in document.items():
                    assert not isinstance(value, dict) or set(value) <= TRTLLM_OPTIONS[key], name


@pytest.mark.parametrize("tool", sorted(set(PROGRAMS.values())))
def test_a_list_says_where_it_was_read(tool: str) -> None:
    known = flag_list(tool)
    assert known.tool == tool
    assert PROGRAMS[known.program.replace("python ", "python3 ")] == tool
    assert re.fullmatch(r"\d+\.\d+(\.\d+)?", known.version)
    assert known.source
    assert all(re.fullmatch(r"--?[a-z][a-z0-9_.-]*", flag) for flag in known.flags)


def test_flags_of_the_user_replace_and_are_checked() -> None:
    deployment = plan(DENSE, pool("h100", "vllm", tp=4))
    given = LaunchSettings(pools=(PoolSettings(flags={"--max-num-seqs": "7", "--enable-eplb": ""}),))
    text = files_of(deployment, given)["launch.sh"].text
    assert "--max-num-seqs 7 " in text
    assert "--enable-eplb" in text
    wrong = LaunchSettings(pools=(PoolSettings(flags={"--max-num-seq": "7"}),))
    with pytest.raises(InputError, match=r"unknown flag '--max-num-seq' of vllm serve .*--max-num-seqs"):
        files_of(deployment, wrong)


def test_settings_of_another_number_of_pools_are_refused() -> None:
    deployment = plan(DENSE, pool("h100", "vllm", tp=4))
    with pytest.raises(InputError, match="settings are given for 2 pools, the deployment has 1"):
        files_of(deployment, LaunchSettings(pools=(PoolSettings(), PoolSettings())))


def test_every_engine_of_the_catalog_is_launched_or_refused_with_a_reason() -> None:
    for engine in load().engines():
        found = files_of(plan(DENSE, pool("h100", engine, tp=4)))
        assert all(file.written or file.note for file in found.values())
        assert found["launch.sh"].written == (engine != "generic")
