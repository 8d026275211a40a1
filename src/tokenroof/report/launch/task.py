"""What a pool has to be launched as: names, hosts, platform, formats, and what stands in the way."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tokenroof.catalog.core import Chip
from tokenroof.catalog.model import Moe, Precision
from tokenroof.deploy.core import Deployment, Infeasible, Pool, Role
from tokenroof.errors import InputError
from tokenroof.report.launch.core import LaunchSettings, PoolSettings
from tokenroof.report.launch.data import Platform, chips_per_host, platform

USUAL_HOST_CHIPS = 8
"""Chips of a host where neither the chip nor the user says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One pool, ready to be launched.

    Attributes
    ----------
    name : str
        Of the pool: "serve", "prefill", "decode", with a number when there are several.
    pool, settings, platform : Pool, PoolSettings, Platform
        What is served, how, on what.
    precision : Precision
        Formats.
    checkpoint, served_name : str
        Weights, and the name that clients ask for.
    quantize : str
        Format into which the engine itself brings the weights while loading; "": as in the checkpoint.
    moe : bool
        Whether the model has experts.
    max_context_tokens : int or None
        Longest sequence. [tokens]
    hosts, host_chips : int
        Hosts of one replica, and chips of each that it uses.
    host_size : int
        Chips that a host has.
    """

    name: str
    pool: Pool
    settings: PoolSettings
    platform: Platform
    precision: Precision
    checkpoint: str
    served_name: str
    quantize: str
    moe: bool
    max_context_tokens: int | None
    hosts: int
    host_chips: int
    host_size: int

    @property
    def image(self) -> str:
        """Container image."""
        return self.platform.images[self.pool.engine.name]

    @property
    def transport(self) -> str:
        """What moves a cache from prefill to decode."""
        return self.platform.transports[self.pool.engine.name]

    @property
    def apart(self) -> bool:
        """Whether prefill and decode are different pools."""
        return self.pool.role is not Role.BOTH


def tasks_of(deployment: Deployment, settings: LaunchSettings) -> tuple[Task, ...] | Infeasible:
    """Every pool as something to launch, or why there is none.

    Raises
    ------
    InputError
        Settings of another number of pools.
    """
    pools = deployment.pools
    if settings.pools and len(settings.pools) != len(pools):
        raise InputError(
            f"settings are given for {len(settings.pools)} pools, the deployment has {len(pools)}."
        )
    engines = sorted({pool.engine.name for pool in pools})
    if len(engines) > 1:
        return _no(f"{' and '.join(engines)} do not hand caches to each other. Use one engine for all pools.")
    vendors = sorted({pool.chip.vendor for pool in pools})
    if len(vendors) > 1 and any(pool.role is not Role.BOTH for pool in pools):
        return _no(f"no release hands caches from {' to '.join(vendors)}. Use one vendor for all pools.")
    checkpoint, quantize = _weights(deployment, settings)
    own_name = deployment.model.hf_id or deployment.model.name
    tasks: list[Task] = []
    for pool, name in zip(pools, _names(pools), strict=True):
        found = platform(pool.chip.vendor)
        reason = _unlaunchable(pool, found)
        if reason or found is None:
            return _no(reason)
        size = _host_size(pool.chip, settings)
        chips = pool.parallel.chips
        hosts = _hosts(pool, size)
        if hosts is None:
            return _no(
                f"{chips} chips of a replica do not split evenly over hosts of {size}. "
                f"Choose a sharding over a multiple of {size} chips."
            )
        if hosts > 1 and found.one_host:
            return _no(f"{chips} chips are {hosts} hosts of {size}: {found.one_host}. Shard over one host.")
        tasks.append(
            Task(
                name=name,
                pool=pool,
                settings=settings.pools[len(tasks)] if settings.pools else PoolSettings(),
                platform=found,
                precision=deployment.precision,
                checkpoint=checkpoint,
                # trtllm-serve serves a model under the name of its weights alone
                served_name=checkpoint if engines == ["trtllm"] else own_name,
                quantize=quantize,
                moe=any(isinstance(group.ffn, Moe) for group in deployment.model.layers),
                max_context_tokens=settings.max_context_tokens,
                hosts=hosts,
                host_chips=chips // hosts,
                host_size=size,
            )
        )
    return tuple(tasks)


def notes_of(tasks: tuple[Task, ...], settings: LaunchSettings) -> tuple[str, ...]:
    """What is assumed in every file."""
    chips = {task.pool.chip.name: task.pool.chip for task in tasks}.values()
    unsaid = [chip for chip in chips if chip.scale_up is None and chips_per_host(chip.node) is None]
    notes = [
        f"{chip.name}: hosts of {USUAL_HOST_CHIPS} chips are assumed; set chips_per_host"
        for chip in (unsaid if settings.chips_per_host is None else ())
    ]
    if tasks[0].checkpoint.startswith("REPLACE/"):
        notes.append(
            f"replace {tasks[0].checkpoint} by a checkpoint in {tasks[0].precision.weights}: "
            f"{tasks[0].served_name} is published in another format"
        )
    return tuple(notes)


def cluster_name(deployment: Deployment, settings: LaunchSettings) -> str:
    """A name that Kubernetes accepts: lower case, digits and hyphens."""
    text = re.sub(r"[^a-z0-9]+", "-", (settings.name or deployment.model.name).lower()).strip("-")
    return text[:40].strip("-") or "model"


def _names(pools: tuple[Pool, ...]) -> tuple[str, ...]:
    bases = ["serve" if pool.role is Role.BOTH else str(pool.role.value) for pool in pools]
    return tuple(
        base if bases.count(base) == 1 else f"{base}-{bases[:i].count(base)}" for i, base in enumerate(bases)
    )


def _host_size(chip: Chip, settings: LaunchSettings) -> int:
    if settings.chips_per_host is not None:
        return settings.chips_per_host
    known = chips_per_host(chip.node)
    if known is not None:
        return known
    return USUAL_HOST_CHIPS if chip.scale_up is None else chip.scale_up.domain_size


def _hosts(pool: Pool, size: int) -> int | None:
    """Hosts of one replica, all with as many of its chips, so that no tensor parallel group is torn."""
    chips, tp = pool.parallel.chips, pool.parallel.tp
    fewest = -(-chips // size)
    for hosts in range(fewest, 2 * fewest + 1):
        each = chips // hosts
        if chips % hosts == 0 and (each % tp == 0 or tp % each == 0):
            return hosts
    return None


def _unlaunchable(pool: Pool, found: Platform | None) -> str:
    """Why nothing can be launched on these chips, or ""."""
    chip, engine = pool.chip, pool.engine.name
    if chip.projection:
        return f"{chip.name} is a projection: there is nothing to launch on. Choose a chip that is sold."
    if found is None or (found.families and chip.family not in found.families):
        return f"no engine known here serves {chip.name} of {chip.vendor}. Use the vendor's own server."
    if pool.role is Role.FEED_FORWARD:
        return "no engine launches attention and feed-forward layers apart. Choose pools of whole models."
    if engine not in found.images:
        usual = ", ".join(found.images)
        return f"{engine} has no release for {chip.name} of {chip.vendor}. Choose one of: {usual}."
    if pool.role is not Role.BOTH and engine not in found.transports:
        return (
            f"no transport of caches between pools of {engine} is known for {chip.name} of {chip.vendor}. "
            "Choose a colocated deployment."
        )
    return ""


def _weights(deployment: Deployment, settings: LaunchSettings) -> tuple[str, str]:
    """Checkpoint, and the format that the engine makes of it."""
    model, precision = deployment.model, deployment.precision
    own = model.hf_id or model.name
    if settings.checkpoint:
        return settings.checkpoint, ""
    roles = 2 if any(isinstance(group.ffn, Moe) for group in model.layers) else 1
    wanted = (precision.weights, precision.experts)[:roles]
    stored = (model.precision.weights, model.precision.experts)[:roles]
    if wanted == stored:
        return own, ""
    # vLLM and SGLang bring 16-bit weights into fp8 while they load; nothing else is made so
    engines = {pool.engine.name for pool in deployment.pools}
    if set(stored) <= {"bf16", "fp16"} and set(wanted) == {"fp8"} and "trtllm" not in engines:
        return own, "fp8"
    return f"REPLACE/{own.rsplit('/', maxsplit=1)[-1]}-{precision.weights}", ""


def _no(reason: str) -> Infeasible:
    return Infeasible(reason=reason)
