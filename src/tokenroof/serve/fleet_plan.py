"""What is known of a fleet before a run: whether it makes sense, and what fails when."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tokenroof.errors import InputError
from tokenroof.serve.arrays import INCIDENT
from tokenroof.serve.core import Autoscaler, Incident, Setup
from tokenroof.serve.fleet_scale import KV, QUEUE, RATE

Records = npt.NDArray[np.void]
SIGNALS = {"rate": RATE, "queue": QUEUE, "kv": KV}


def spares_of(setup: Setup, pool: int) -> int:
    """Standby replicas of a pool."""
    return setup.fleet.spares[pool] if pool < len(setup.fleet.spares) else 0


def most_replicas(setup: Setup, pool: int) -> int:
    """Replicas that may ever serve in a pool: those of the start, what an autoscaler may add, spares."""
    most = max([each.most for each in setup.fleet.autoscalers if each.pool == pool], default=0)
    return max(setup.pools[pool].replicas, most) + spares_of(setup, pool)


def check_fleet(setup: Setup) -> None:
    """Refuse what cannot happen.

    Raises
    ------
    InputError
        A pool or a replica that is not there, negative or undefined times, a slowdown below 1, an unknown
        signal, a target that is not above 0, bounds that exclude each other, two autoscalers of a pool.
    """
    fleet, pools = setup.fleet, len(setup.pools)
    if len(fleet.spares) > pools:
        raise InputError(f"spares are given for {len(fleet.spares)} pools, there are {pools}.")
    if any(count < 0 for count in fleet.spares):
        raise InputError(f"spares must be at least 0, got {min(fleet.spares)}.")
    _at_least("takeover_s", fleet.takeover_s, 0.0)
    if fleet.max_retries < 0:
        raise InputError(f"max_retries must be at least 0, got {fleet.max_retries}.")
    for number, pool in enumerate(setup.pools):
        _at_least(f"start_up_s of pool {number}", pool.start_up_s, 0.0)
    for number, incident in enumerate(fleet.incidents):
        _check_incident(setup, f"incident {number}", incident)
    for number, scaler in enumerate(fleet.autoscalers):
        _check_autoscaler(f"autoscaler {number}", scaler, pools)
        if scaler.pool in [other.pool for other in fleet.autoscalers[:number]]:
            raise InputError(f"pool {scaler.pool} has an autoscaler already. Leave one out.")


def _at_least(name: str, value: float, least: float) -> None:
    if not least <= value < math.inf:
        raise InputError(f"{name} must be finite and at least {least:g}, got {value!r}.")


def _check_pool(what: str, pool: int, pools: int) -> None:
    if not 0 <= pool < pools:
        raise InputError(f"{what}: there are {pools} pools, counted from 0, got {pool}.")


def _check_incident(setup: Setup, what: str, incident: Incident) -> None:
    _check_pool(what, incident.pool, len(setup.pools))
    _at_least(f"{what}: at_s", incident.at_s, 0.0)
    if not incident.for_s > 0.0:
        raise InputError(f"{what}: for_s must be above 0, got {incident.for_s!r}.")
    if not incident.slowdown >= 1.0:
        raise InputError(f"{what}: slowdown must be at least 1 (infinite: down), got {incident.slowdown!r}.")
    most = most_replicas(setup, incident.pool)
    for replica in incident.replicas:
        if not 0 <= replica < most:
            raise InputError(f"{what}: pool {incident.pool} has {most} replicas, from 0, got {replica}.")
    if not incident.replicas or len(set(incident.replicas)) != len(incident.replicas):
        raise InputError(f"{what}: replicas must be named once each, got {incident.replicas}.")


def _check_autoscaler(what: str, scaler: Autoscaler, pools: int) -> None:
    _check_pool(what, scaler.pool, pools)
    if scaler.signal not in SIGNALS:
        raise InputError(f"{what}: signal must be one of {', '.join(SIGNALS)}, got {scaler.signal!r}.")
    if not 0.0 < scaler.target < math.inf:
        raise InputError(f"{what}: target must be above 0 and finite, got {scaler.target!r}.")
    if not 1 <= scaler.least <= scaler.most:
        raise InputError(
            f"{what}: least must lie in 1..most, got least {scaler.least} and most {scaler.most}."
        )
    if not 0.0 < scaler.interval_s < math.inf:
        raise InputError(f"{what}: interval_s must be above 0 and finite, got {scaler.interval_s!r}.")
    _at_least(f"{what}: down_after_s", scaler.down_after_s, 0.0)


def fill_fleet(pools: Records, setup: Setup) -> None:
    """Write what the kernel needs of the fleet into the records of the pools."""
    pools["low_since_s"] = np.inf
    for number, pool in enumerate(setup.pools):
        pools[number]["wanted"] = pool.replicas
        pools[number]["spares"] = spares_of(setup, number)
    for scaler in setup.fleet.autoscalers:
        record = pools[scaler.pool]
        record["signal"], record["goal"] = SIGNALS[scaler.signal], scaler.target
        record["least"], record["most"] = scaler.least, scaler.most
        record["interval_s"], record["down_after_s"] = scaler.interval_s, scaler.down_after_s


def incident_rows(setup: Setup, pools: Records) -> Records:
    """One row per incident and replica, by time; of one time failures first."""
    found = [
        (each.at_s, each.at_s + each.for_s, int(pools[each.pool]["first"]) + replica, each.slowdown)
        for each in setup.fleet.incidents
        for replica in each.replicas
    ]
    rows = np.array(found, INCIDENT)
    return rows[np.lexsort((rows["replica"], -rows["slow"], rows["at_s"]))]


def random_failures(
    *,
    replicas: Sequence[int],
    mtbf_s: float,
    mttr_s: float,
    until_s: float,
    seed: int,
    pool: int = 0,
    replicas_per_node: int = 1,
) -> tuple[Incident, ...]:
    """Failures by chance: exponential times between the end of a repair and the next failure, and of repair.

    Parameters
    ----------
    replicas : sequence of int
        Which replicas of the pool fail; neighbours of this list share a node.
    mtbf_s, mttr_s : float
        Mean time between failures, and to repair, of a node. [s]
    until_s : float
        Draw what begins before. [s]
    seed : int
        The same seed gives the same failures; a node's do not depend on how many nodes there are.
    pool : int
        Which pool.
    replicas_per_node : int
        So many fail together.

    Returns
    -------
    tuple of Incident
        By time.

    Raises
    ------
    InputError
        Times that are not above 0, an infinite horizon, nodes of nothing.
    """
    for name, value in (("mtbf_s", mtbf_s), ("mttr_s", mttr_s), ("until_s", until_s)):
        if not 0.0 < value < math.inf:
            raise InputError(f"{name} must be above 0 and finite, got {value!r}.")
    if replicas_per_node < 1:
        raise InputError(f"replicas_per_node must be at least 1, got {replicas_per_node}.")
    found: list[Incident] = []
    for node, start in enumerate(range(0, len(replicas), replicas_per_node)):
        rng = np.random.default_rng((seed, pool, node))
        hit = tuple(replicas[start : start + replicas_per_node])
        at_s = float(rng.exponential(mtbf_s))
        while at_s < until_s:
            for_s = float(rng.exponential(mttr_s))
            found.append(Incident(at_s=at_s, for_s=for_s, pool=pool, replicas=hit))
            at_s += for_s + float(rng.exponential(mtbf_s))
    return tuple(sorted(found, key=lambda each: each.at_s))
