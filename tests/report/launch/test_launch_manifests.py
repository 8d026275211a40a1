"""Manifests parse, have the fields of their kind, and ask for the chips of the plan, no more and no fewer."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from launch_plans import (
    DECODE,
    DENSE,
    MANIFESTS,
    MOE,
    PLANS,
    PREFILL,
    SETTINGS,
    documents,
    files_of,
    plan,
    pool,
    requests,
    settings_for,
)

from tokenroof.deploy.core import Deployment, Role
from tokenroof.report.launch import LaunchFile, LaunchSettings, PoolSettings
from tokenroof.report.launch.data import platform, schema

GOLDEN = Path(__file__).parent / "golden"


def resources(deployment: Deployment) -> Counter[str]:
    """Chips of the plan by what Kubernetes calls them."""
    found: Counter[str] = Counter()
    for each in deployment.pools:
        known = platform(each.chip.vendor)
        assert known is not None
        found[known.resource] += each.parallel.chips * each.replicas
    return found


def asked(pod: dict[str, Any], times: int) -> Counter[str]:
    """Chips of a pod's only container, so many times."""
    (container,) = pod["containers"]
    limits = container["resources"]["limits"]
    assert container["resources"].get("requests", limits) == limits
    return Counter({name: int(text) * times for name, text in limits.items()})


def in_kubernetes(document: dict[str, Any]) -> Counter[str]:
    spec = document["spec"]
    if document["kind"] == "LeaderWorkerSet":
        group = spec["leaderWorkerTemplate"]
        return asked(group["leaderTemplate"]["spec"], spec["replicas"]) + asked(
            group["workerTemplate"]["spec"], spec["replicas"] * (group["size"] - 1)
        )
    pod = spec["template"]["spec"]
    return Counter() if pod["containers"][0]["name"] == "router" else asked(pod, spec["replicas"])


def in_llm_d(part: dict[str, Any]) -> Counter[str]:
    pods = 1
    if "parallelism" in part:
        pods = part["parallelism"]["data"] // part["parallelism"]["dataLocal"]
        assert asked(part["worker"], 1) == asked(part["template"], 1)
    return asked(part["template"], part["replicas"] * pods)


def in_dynamo(component: dict[str, Any]) -> Counter[str]:
    if component["type"] == "frontend":
        return Counter()
    nodes = component.get("multinode", {}).get("nodeCount", 1)
    return asked(component["podTemplate"]["spec"], component["replicas"] * nodes)


def counted(file: LaunchFile) -> Counter[str]:
    found: Counter[str] = Counter()
    for document in documents(file):
        if file.name == "llm-inference-service.yaml":
            spec = document["spec"]
            found += in_llm_d(spec) + (in_llm_d(spec["prefill"]) if "prefill" in spec else Counter())
        elif file.name == "dynamo.yaml":
            found += sum((in_dynamo(each) for each in document["spec"]["components"]), Counter())
        elif document["kind"] not in ("Service", "ConfigMap"):
            found += in_kubernetes(document)
    return found


def on_hosts(deployment: Deployment, text: str) -> Counter[tuple[str, str]]:
    """How often each chip of each host is used, by launch.sh."""
    found: Counter[tuple[str, str]] = Counter()
    host = "0"
    for line in text.splitlines():
        host = line[:-1] if re.fullmatch(r"\d+\)", line) else host
        for chips in re.findall(r"^\w+_(?:VISIBLE\w*)=(\S+) ", line):
            found += Counter((host, chip) for chip in chips.split(","))
    return found


@pytest.mark.parametrize("name", PLANS)
def test_manifests_have_the_fields_of_their_kind(name: str) -> None:
    for settings in SETTINGS.values():
        found = files_of(PLANS[name], settings_for(PLANS[name], settings, max_context_tokens=8192))
        for file in (found[each] for each in MANIFESTS if found[each].written):
            for document in documents(file):
                jsonschema.validate(document, schema(document["kind"]))
        if found["compose.yaml"].written:
            (document,) = documents(found["compose.yaml"])
            jsonschema.validate(document, schema("Compose"))


@pytest.mark.parametrize("name", PLANS)
def test_chips_asked_for_are_those_of_the_plan(name: str) -> None:
    deployment = PLANS[name]
    found = files_of(deployment)
    written = [found[each] for each in MANIFESTS if found[each].written]
    for file in written:
        assert counted(file) == resources(deployment), file.name
    if found["launch.sh"].written:
        chips = on_hosts(deployment, found["launch.sh"].text)
        assert sum(chips.values()) == sum(resources(deployment).values())
        assert set(chips.values()) == {1}
        assert in_compose(found["compose.yaml"]) == chips
        written.append(found["launch.sh"])
    assert written, "something can be launched"


def in_compose(file: LaunchFile) -> Counter[tuple[str, str]]:
    """How often each chip of each host is used, by compose.yaml."""
    found: Counter[tuple[str, str]] = Counter()
    (document,) = documents(file)
    for name, service in document["services"].items():
        (profile,) = service.get("profiles", ["host-0"])
        host = profile.removeprefix("host-")
        if "deploy" in service:
            (device,) = service["deploy"]["resources"]["reservations"]["devices"]
            found += Counter((host, each) for each in device["device_ids"])
        elif name != "router":
            (chips,) = [value for key, value in service["environment"].items() if "VISIBLE" in key]
            found += Counter((host, each) for each in chips.split(","))
    return found


def test_names_of_resources_are_the_vendors() -> None:
    seen = {
        name: set(counted(files_of(PLANS[name])["kubernetes.yaml"]))
        for name in ("vllm-one", "vllm-amd", "vllm-tpu", "vllm-gaudi", "vllm-ascend")
    }
    assert seen == {
        "vllm-one": {"nvidia.com/gpu"},
        "vllm-amd": {"amd.com/gpu"},
        "vllm-tpu": {"google.com/tpu"},
        "vllm-gaudi": {"habana.ai/gaudi"},
        "vllm-ascend": {"huawei.com/Ascend910"},
    }


def test_kinds_follow_hosts_and_roles() -> None:
    def kinds(name: str) -> Counter[str]:
        return Counter(each["kind"] for each in documents(files_of(PLANS[name])["kubernetes.yaml"]))

    assert kinds("vllm-replicas") == {"Deployment": 1, "Service": 1}
    assert kinds("sglang-hosts") == {"LeaderWorkerSet": 1, "Service": 1}
    assert kinds("vllm-apart") == {"StatefulSet": 2, "Service": 3, "Deployment": 1}
    assert kinds("trtllm-apart") == {"StatefulSet": 2, "Service": 3, "Deployment": 1, "ConfigMap": 3}


def test_the_router_is_told_every_server() -> None:
    text = files_of(PLANS["sglang-apart"])["kubernetes.yaml"].text
    name = "llama-3-3-70b"
    for i in range(3):
        assert f"--prefill http://{name}-prefill-{i}.{name}-prefill:8000 20000" in text
    for i in range(2):
        assert f"--decode http://{name}-decode-{i}.{name}-decode:8000" in text
    services = {each["metadata"]["name"] for each in yaml.safe_load_all(text) if each["kind"] == "Service"}
    assert services == {name, f"{name}-prefill", f"{name}-decode"}


def test_pools_with_different_chips_find_their_nodes() -> None:
    deployment = PLANS["vllm-two-chips"]
    file = files_of(deployment)["kubernetes.yaml"]
    assert "tokenroof/chip=h100, tokenroof/chip=h200" in file.note
    assert "tokenroof/chip: h100" in file.text
    own = LaunchSettings(pools=(PoolSettings(node_selector={"gpu": "h"}),) * 2)
    file = files_of(deployment, own)["kubernetes.yaml"]
    assert "tokenroof/chip" not in file.text + file.note
    assert "gpu: h" in file.text


GOLDENS = {
    "vllm": plan(DENSE, pool("h100", "vllm", replicas=2, tp=4), weights="fp8", kv="fp8"),
    "sglang": plan(MOE, pool("h200", "sglang", dp=16, ep=16)),
    "trtllm": plan(DENSE, pool("h100", "trtllm", PREFILL, 2, tp=2), pool("h100", "trtllm", DECODE, tp=4)),
}


@pytest.mark.parametrize("name", GOLDENS)
def test_files_are_as_they_were(name: str) -> None:
    """After a wanted change: delete the folder of the plan, run this once, and read what has changed."""
    found = files_of(GOLDENS[name], traffic=requests())
    text = {each.name: each.text or f"not written: {each.note}\n" for each in found.values()}
    folder = GOLDEN / name
    if not folder.exists():
        folder.mkdir()
        for file, content in text.items():
            (folder / file).write_text(content, encoding="utf-8")
        pytest.fail(f"{folder} was written; read it")
    assert text == {each.name: each.read_text(encoding="utf-8") for each in folder.iterdir()}


def test_a_role_alone_has_a_name_without_a_number() -> None:
    assert [each.role for each in GOLDENS["trtllm"].pools] == [Role.PREFILL, Role.DECODE]
    assert {"prefill.trtllm.yaml", "decode.trtllm.yaml"} <= set(files_of(GOLDENS["trtllm"]))
