"""All launch files of a deployment."""

from __future__ import annotations

from collections.abc import Sequence

from tokenroof.deploy.core import Deployment, Infeasible
from tokenroof.report.launch.compose import NAME as COMPOSE
from tokenroof.report.launch.compose import compose
from tokenroof.report.launch.core import LaunchFile, LaunchSettings
from tokenroof.report.launch.data import flag_list, known_flags
from tokenroof.report.launch.dynamo import NAME as DYNAMO
from tokenroof.report.launch.dynamo import dynamo
from tokenroof.report.launch.dynamo import problem as dynamo_problem
from tokenroof.report.launch.engines import ENGINES
from tokenroof.report.launch.kubernetes import NAME as KUBERNETES
from tokenroof.report.launch.kubernetes import kubernetes
from tokenroof.report.launch.llmd import NAME as LLM_D
from tokenroof.report.launch.llmd import llm_inference_service
from tokenroof.report.launch.llmd import problem as llm_d_problem
from tokenroof.report.launch.loadtest import (
    GUIDELLM,
    REQUESTS,
    VLLM,
    guidellm_run,
    load_note,
    load_problem,
    load_script,
    trace,
    vllm_bench,
)
from tokenroof.report.launch.place import CLIENT_PORT, host_count, processes_of
from tokenroof.report.launch.pods import label_note
from tokenroof.report.launch.router import router, trtllm_disaggregated
from tokenroof.report.launch.script import NAME as SCRIPT
from tokenroof.report.launch.script import script
from tokenroof.report.launch.task import Task, cluster_name, notes_of, tasks_of
from tokenroof.report.launch.text import yaml_text
from tokenroof.workload.core import Requests

LAUNCH = (SCRIPT, COMPOSE, KUBERNETES, LLM_D, DYNAMO)
LOAD_TESTS = (REQUESTS, VLLM, GUIDELLM)


def launch_files(
    deployment: Deployment, settings: LaunchSettings, traffic: Requests
) -> tuple[LaunchFile, ...]:
    """Files that launch a deployment, and that test it with the planned traffic.

    Parameters
    ----------
    deployment : Deployment
        What is launched; engine limits are those of its pools.
    settings : LaunchSettings
        What else the files need to know.
    traffic : Requests
        What the load test sends.

    Returns
    -------
    tuple of LaunchFile
        Commands, manifests, load tests. One that cannot be written has no text and says why.

    Raises
    ------
    InputError
        Settings of another number of pools, or a flag that the engine's documented version does not have.
    """
    tasks = tasks_of(deployment, settings)
    if isinstance(tasks, Infeasible):
        return _refused((*LAUNCH, *LOAD_TESTS), tasks.reason)
    for task in tasks:
        known_flags(task.pool.engine.name, task.settings.flags)
    problems = [ENGINES[task.pool.engine.name].problem(task) for task in tasks]
    reason = next((each for each in problems if each), "")
    if reason:
        return _refused((*LAUNCH, *LOAD_TESTS), reason)
    name, assumed = cluster_name(deployment, settings), notes_of(tasks, settings)
    return (
        *_on_hosts(tasks, assumed),
        *_in_a_cluster(tasks, name, assumed),
        *_load_tests(tasks, deployment.model.name, traffic),
    )


def _on_hosts(tasks: tuple[Task, ...], assumed: tuple[str, ...]) -> tuple[LaunchFile, ...]:
    reason = _one_host_only(tasks)
    if reason:
        return _refused((SCRIPT, COMPOSE), reason)
    processes = processes_of(tasks)
    hosts = host_count(processes)
    servers = [(each.task, each.url, each.cache_port) for each in processes if each.leads]
    front = router(tasks, servers, CLIENT_PORT)
    routed = (
        trtllm_disaggregated(servers, CLIENT_PORT)
        if front is not None and front.tool == "trtllm-disaggregated"
        else {}
    )
    head = _head(tasks)
    asked = [] if front is not None or len(servers) == 1 else [f"clients ask {_ports(servers)} in turn"]
    start = f"run it on each of the {hosts} hosts with its number" if hosts > 1 else "run it on the host"
    up = (
        f"HOST_0=... docker compose --profile host-N up, on each of the {hosts} hosts"
        if hosts > 1
        else "docker compose up"
    )
    configs = tuple(
        LaunchFile(
            name=f"{task.name}.trtllm.yaml",
            text=yaml_text(config, head=head),
            note=f"options of the LLM API of the {task.name} servers, beside launch.sh",
        )
        for task in tasks
        if (config := ENGINES[task.pool.engine.name].config(task))
    )
    return (
        LaunchFile(
            name=SCRIPT,
            text=script(processes, front, routed, head),
            note=_joined([start, *asked, *assumed]),
        ),
        *configs,
        LaunchFile(
            name=COMPOSE,
            text=compose(processes, front, routed, head),
            note=_joined([up, *asked, *assumed]),
        ),
    )


def _in_a_cluster(tasks: tuple[Task, ...], name: str, assumed: tuple[str, ...]) -> tuple[LaunchFile, ...]:
    head = _head(tasks)
    label = label_note(tasks)
    common = [*([label] if label else []), *assumed]
    apply = "kubectl apply -f"
    reasons = {
        KUBERNETES: _one_host_only(tasks),
        LLM_D: llm_d_problem(tasks),
        DYNAMO: dynamo_problem(tasks),
    }
    spans = any(task.hosts > 1 for task in tasks)
    needs = {
        KUBERNETES: "needs the LeaderWorkerSet controller" if spans else "",
        LLM_D: "needs KServe 0.20 or later with llm-d and a gateway",
        DYNAMO: (
            f"needs the Dynamo {flag_list('dynamo-frontend').version} operator, whose images have "
            "engine versions of their own"
        ),
    }
    renders = {
        KUBERNETES: kubernetes,
        LLM_D: llm_inference_service,
        DYNAMO: dynamo,
    }
    return tuple(
        LaunchFile(
            name=file,
            text=render(tasks, name, head),
            note=_joined([f"{apply} {file}", needs[file], *common]),
        )
        if not reasons[file]
        else LaunchFile(name=file, text="", note=reasons[file])
        for file, render in renders.items()
    )


def _load_tests(tasks: tuple[Task, ...], model: str, traffic: Requests) -> tuple[LaunchFile, ...]:
    reason = load_problem(traffic)
    if reason:
        return _refused(LOAD_TESTS, reason)
    how = "sent at the planned times" if traffic.concurrency is None else "sent as places become free"
    found = [
        LaunchFile(
            name=REQUESTS,
            text=trace(traffic),
            note=f"the planned requests as a Mooncake trace (times in ms), {how}",
        )
    ]
    makers = {VLLM: vllm_bench, GUIDELLM: guidellm_run}
    for name, make in makers.items():
        command, after = make(tasks, traffic), load_note(name, tasks, model)
        version = flag_list(command.tool)
        head = f"{version.program} {version.version}; {after}"
        found.append(LaunchFile(name=name, text=load_script(command, head), note=after))
    return tuple(found)


def _one_host_only(tasks: tuple[Task, ...]) -> str:
    """Why replicas over several hosts cannot be launched, or ""."""
    if all(task.hosts == 1 for task in tasks):
        return ""
    return ENGINES[tasks[0].pool.engine.name].one_host


def _head(tasks: tuple[Task, ...]) -> str:
    """What a file is of, and which version its flags are of."""
    pools = "; ".join(
        f"{task.name}: {task.pool.replicas} x {task.pool.parallel.chips} {task.pool.chip.name}"
        for task in tasks
    )
    known = flag_list(tasks[0].pool.engine.name)
    return f"{tasks[0].served_name}, {pools}\nflags of {known.tool} {known.version}"


def _ports(servers: Sequence[tuple[Task, str, int]]) -> str:
    return ", ".join(url for _, url, _ in servers)


def _joined(parts: Sequence[str]) -> str:
    return "; ".join(part for part in parts if part)


def _refused(names: Sequence[str], reason: str) -> tuple[LaunchFile, ...]:
    return tuple(LaunchFile(name=name, text="", note=reason) for name in names)
