"""What the pools of a run did and drew: sums over its steps, from the visits of their tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tokenroof.catalog.catalog import Catalog
from tokenroof.deploy.accounts import Spending, Usage
from tokenroof.deploy.core import Deployment, Role
from tokenroof.deploy.provenance import power_of
from tokenroof.deploy.simulated.drafting.core import FEATURE, draft_rows
from tokenroof.deploy.simulated.pools import Served
from tokenroof.perf.compile import Columns
from tokenroof.perf.flat import FlatLayout, flat_layout, flatten
from tokenroof.perf.quantities import Quantities, compile_quantities, numbers_of
from tokenroof.serve.results import Run

FloatArray = npt.NDArray[np.float64]

_SCALARS = ("energy_j", "compute_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolWork:
    """One pool over a whole run.

    Attributes
    ----------
    served : Served
        The pool.
    sums : mapping of str to float
        Quantities of :class:`tokenroof.perf.quantities.Quantities` that are used here, summed over all
        steps of all replicas; of one chip of every stage.
    up_s, busy_s, paid_s : float
        Replica time up, in steps, and paid for. [s]
    decode_busy_s : float
        What the decode steps would take without prompts in them, at most all of ``busy_s``. [s]
    decode_seqs : float
        Mean sequences of a micro-batch that decodes; 0 when none did.
    in_flight : int
        Mean micro-batches that go round.
    """

    served: Served
    sums: Mapping[str, float]
    up_s: float
    busy_s: float
    paid_s: float
    decode_busy_s: float
    decode_seqs: float
    in_flight: int

    def fraction(self, name: str) -> float:
        """A quantity in seconds over the time up of every stage."""
        return self.sums[name] / (self.up_s * self.served.pool.parallel.pp) if self.up_s > 0.0 else 0.0


def pool_work(run: Run, index: int, served: Served, deployment: Deployment, span_s: float) -> PoolWork:
    """Sums of one pool.

    Parameters
    ----------
    run : Run
        The whole.
    index : int
        Which pool.
    served, deployment : Served, Deployment
        It, and what it serves.
    span_s : float
        Time over which replicas are paid for. [s]
    """
    setup, visits = run.setup.pools[index], run.visits[index]
    mine = run.replicas["pool"] == index
    up_s, busy_s = (float(run.replicas[name][mine].sum()) for name in ("up_s", "busy_s"))
    layout = flat_layout(setup.table, max(1, int(setup.scheduler.settings()["max_seqs"])))
    quantities = compile_quantities(served.table)
    if setup.table is not served.table:
        quantities = with_drafts(quantities, served, deployment)
    wanted = [
        name
        for name in quantities
        if name in _SCALARS or name.split(":")[0] in ("limit_s", "memory_s", "network_s")
    ]
    used = np.flatnonzero(visits)
    often = visits[used]
    sums = {name: float(often @ flatten(quantities[name], layout)[used]) for name in wanted}
    steps = float(run.replicas["steps"][mine].sum())
    made = float(run.replicas["decode_tokens"][mine].sum())
    decode_s, visited, seqs = _decoding(served, visits, layout, made)
    in_flight = max(1.0, visited / steps) if steps else 1.0
    slowed_s = float(run.replicas["slowed_s"][mine].sum())
    limited_s = sum(value for name, value in sums.items() if name.startswith("limit_s:")) / in_flight
    # What the operators leave of the time in steps is the host's.
    sums["limit_s:host"] = max(0.0, busy_s - slowed_s - limited_s) * in_flight
    return PoolWork(
        served=served,
        sums=sums,
        up_s=up_s,
        busy_s=busy_s,
        paid_s=paid_s(run, index, up_s, span_s),
        decode_busy_s=min(decode_s / in_flight, busy_s),
        decode_seqs=seqs,
        in_flight=round(in_flight),
    )


def used(work: PoolWork) -> Iterator[tuple[str, float]]:
    """How much of its peaks a pool used while it was up, and what limited its steps."""
    yield "compute_fraction", work.fraction("compute_s")
    for name in work.sums:
        kind, _, of = name.partition(":")
        if kind in ("memory_s", "network_s") and work.sums[name] > 0.0:
            yield f"{kind.removesuffix('_s')}_fraction:{of}", work.fraction(name)
    limits = {name: value for name, value in work.sums.items() if name.startswith("limit_s:") and value > 0.0}
    for name, value in limits.items():
        yield f"limit_fraction:{name.removeprefix('limit_s:')}", value / sum(limits.values())


def with_drafts(quantities: Quantities, served: Served, deployment: Deployment) -> Quantities:
    """Quantities on the knots of the table that drafting was added to."""
    drafting = served.options.drafting
    assert drafting is not None, "tables differ only when something drafts"
    columns = Columns(names=tuple(quantities), of=numbers_of)
    dense_tokens = served.pool.engine.max_num_batched_tokens
    rows = draft_rows(served.pool, deployment, drafting, columns, dense_tokens, served.context_tokens)
    assert rows is not None, "a lane was made of it"
    features = [lane.feature for lane in quantities.table.lanes]
    at = features.index(FEATURE) if FEATURE in features else None
    return Quantities(
        table=served.setup.table,
        sections={
            name: replace(section, lanes=_with_rows(section.lanes, at, rows[0][index], rows[1][index]))
            for index, (name, section) in enumerate(quantities.items())
        },
    )


def _with_rows(
    lanes: tuple[tuple[FloatArray, FloatArray], ...], at: int | None, dense: FloatArray, tail: FloatArray
) -> tuple[tuple[FloatArray, FloatArray], ...]:
    """One lane more, or more in the lane at ``at``."""
    if at is None:
        return (*lanes, (dense, tail))
    return (*lanes[:at], (lanes[at][0] + dense, lanes[at][1] + tail), *lanes[at + 1 :])


def _decoding(
    served: Served, visits: FloatArray, layout: FlatLayout, made: float
) -> tuple[float, float, float]:
    """Time of the steps that decode as if without prompts, how many there were, their mean sequences.

    Parameters
    ----------
    served : Served
        The pool.
    visits, layout : FloatArray, FlatLayout
        Those of decode attention say how often so many sequences of the busiest rank had which context.
    made : float
        Tokens that decoding yielded: with several ranks, they say how full the others were. [tokens]

    Returns
    -------
    tuple of float
        Steps are those of micro-batches, sequences those of all ranks.
    """
    table, ranks = served.setup.table, served.pool.parallel.dp
    rows = visits[layout.decode_offset : layout.prefill_offset].reshape(layout.decode_rows, -1)
    times = rows.sum(axis=1)
    seqs = np.flatnonzero(times > 0.0)
    if seqs.size == 0:
        return 0.0, 0.0, 0.0
    often = times[seqs]
    contexts = rows[seqs] @ table.contexts / often
    drafts = served.setup.speculation
    tokens = 1.0 if drafts is None else drafts.tokens_per_step
    full = 1.0 if ranks == 1 else min(1.0, made / tokens / float(often @ seqs * ranks))
    whole = np.maximum(np.rint(seqs * ranks * full), 1.0).astype(np.int64)
    step_s = np.asarray(table.decode_step_s(whole, contexts))
    return float(often @ step_s), float(often.sum()), float(often @ whole / often.sum())


def paid_s(run: Run, index: int, up_s: float, span_s: float) -> float:
    """Replica time that is paid: failed ones and spares all the time; of autoscaled pools as they were up."""
    fleet = run.setup.fleet
    spares = fleet.spares[index] if index < len(fleet.spares) else 0
    if any(scaler.pool == index for scaler in fleet.autoscalers):
        return up_s
    return (run.setup.pools[index].replicas + spares) * span_s


def usage_of(
    work: PoolWork,
    spending: Spending,
    catalog: Catalog,
    *,
    span_s: float,
    requests: int,
) -> Usage:
    """What the pool spends on one of the requests that were completed in ``span_s``."""
    pool = work.served.pool
    power = power_of(pool)
    paid_chip_s = work.paid_s * pool.parallel.chips / requests
    share = _decode_share(work)
    return Usage(
        chips=work.paid_s * pool.parallel.chips / span_s,
        prefill_chip_s=paid_chip_s * (1.0 - share),
        decode_chip_s=paid_chip_s * share,
        compute_chip_s=work.sums["compute_s"] * pool.parallel.stage_chips / requests,
        dynamic_j_per_request=(
            None if power is None else work.sums["energy_j"] * pool.parallel.stage_chips / requests
        ),
        power=power,
        basis=spending.basis(catalog.economics(), pool.chip),
    )


def _decode_share(work: PoolWork) -> float:
    """Part of a pool's time, idle time included, that decoding pays for.

    It pays for its steps as if they carried no prompts, as in closed form; prefill pays for the rest of
    the time in steps, and both bear the idle time in proportion.
    """
    role = work.served.pool.role
    if role is not Role.BOTH:
        return 0.0 if role is Role.PREFILL else 1.0
    return work.decode_busy_s / work.busy_s if work.busy_s > 0.0 else 0.0
