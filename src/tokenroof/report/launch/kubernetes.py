"""``kubernetes.yaml``: plain Kubernetes, with LeaderWorkerSet where a replica spans hosts."""

from __future__ import annotations

from typing import Any

from tokenroof.report.launch.core import Command
from tokenroof.report.launch.engines import ENGINES
from tokenroof.report.launch.engines.core import Net
from tokenroof.report.launch.pods import POD_ADDRESS, PORT, pod, several_chips
from tokenroof.report.launch.router import IMAGE, TRTLLM_FILE, package, router, trtllm_disaggregated
from tokenroof.report.launch.task import Task
from tokenroof.report.launch.text import shell_words, yaml_text

NAME = "kubernetes.yaml"
_PEER_PORT, _CACHE_PORT = 29500, 20000


def kubernetes(tasks: tuple[Task, ...], name: str, head: str) -> str:
    """Every object of the deployment, the servers before what stands in front of them."""
    servers = [
        (task, f"http://{name}-{task.name}-{i}.{name}-{task.name}:{PORT}", _CACHE_PORT)
        for task in tasks
        for i in range(task.pool.replicas)
    ]
    front = router(tasks, servers, PORT) if tasks[0].apart else None
    documents: list[dict[str, Any]] = []
    for task in tasks:
        config = ENGINES[task.pool.engine.name].config(task)
        if config:
            documents.append(_config_map(f"{name}-{task.name}", f"{task.name}.trtllm.yaml", dict(config)))
        documents.append(_workload(task, name, several=several_chips(tasks)))
        if tasks[0].apart and task.hosts == 1:
            documents.append(_service(f"{name}-{task.name}", _labels(task, name), headless=True))
    if front is None:
        documents.append(_service(name, _labels(tasks[0], name, leader=tasks[0].hosts > 1), headless=False))
    else:
        if not package(front):
            listed = trtllm_disaggregated(servers, PORT)
            documents.append(_config_map(f"{name}-router", TRTLLM_FILE, listed))
        documents.append(_router(front, name, tasks[0].image))
        documents.append(_service(name, {"app": f"{name}-router"}, headless=False))
    return yaml_text(*documents, head=head)


def _labels(task: Task, name: str, *, leader: bool = False) -> dict[str, str]:
    labels = {"app": f"{name}-{task.name}"}
    return {**labels, "leaderworkerset.sigs.k8s.io/worker-index": "0"} if leader else labels


def _command(task: Task, *, leads: bool) -> Command:
    net = Net(
        port=PORT,
        address=POD_ADDRESS,
        leader="$(LWS_LEADER_ADDRESS)",
        rank="$(LWS_WORKER_INDEX)",
        peer_port=_PEER_PORT,
        cache_port=_CACHE_PORT,
        leads=leads,
    )
    return ENGINES[task.pool.engine.name].command(task, net)


def _workload(task: Task, name: str, *, several: bool) -> dict[str, Any]:
    full, labels = f"{name}-{task.name}", _labels(task, name)

    def template(leads: bool) -> dict[str, Any]:
        return pod(
            task,
            _command(task, leads=leads),
            leads=leads,
            labels=labels,
            config=full,
            several_chips=several,
        )

    spec: dict[str, Any] = {"replicas": task.pool.replicas}
    if task.hosts > 1:
        spec["leaderWorkerTemplate"] = {
            "size": task.hosts,
            "restartPolicy": "RecreateGroupOnPodRestart",
            "leaderTemplate": template(True),
            "workerTemplate": template(False),
        }
        return _object("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", full, spec)
    spec |= {"selector": {"matchLabels": labels}, "template": template(True)}
    if not task.apart:
        return _object("apps/v1", "Deployment", full, spec)
    # every server has an address of its own, which the router is told
    spec |= {"serviceName": full, "podManagementPolicy": "Parallel"}
    return _object("apps/v1", "StatefulSet", full, spec)


def _service(name: str, selector: dict[str, str], *, headless: bool) -> dict[str, Any]:
    spec: dict[str, Any] = {"selector": selector, "ports": [{"port": PORT, "targetPort": PORT}]}
    if headless:
        spec = {"clusterIP": "None", "publishNotReadyAddresses": True, **spec}
    return _object("v1", "Service", name, spec)


def _router(front: Command, name: str, image: str) -> dict[str, Any]:
    labels = {"app": f"{name}-router"}
    container: dict[str, Any] = {"name": "router", "image": IMAGE, "ports": [{"containerPort": PORT}]}
    spec: dict[str, Any] = {"containers": [container]}
    if package(front):
        started = shell_words((*front.program, *front.arguments))
        container["command"] = ["/bin/sh", "-c", f"pip install {package(front)} && exec {started}"]
    else:
        container |= {"image": image, "command": list(front.program), "args": list(front.arguments)}
        container |= {"workingDir": "/launch", "volumeMounts": [{"name": "config", "mountPath": "/launch"}]}
        spec["volumes"] = [{"name": "config", "configMap": {"name": f"{name}-router"}}]
    template = {"metadata": {"labels": labels}, "spec": spec}
    whole = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    return _object("apps/v1", "Deployment", f"{name}-router", whole)


def _config_map(name: str, file: str, content: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {file: yaml_text(content)},
    }


def _object(version: str, kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}
