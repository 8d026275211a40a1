"""From what was found to choices: everything that is said of a deployment that is recommended."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from tokenroof.deploy.core import Metric
from tokenroof.deploy.simulated.terms import run_metric
from tokenroof.search.accounting import objective_values
from tokenroof.search.bound import least_chips
from tokenroof.search.build import Builder
from tokenroof.search.campaign import Campaign
from tokenroof.search.core import Candidate, Choice, Fewer, LowerBound, Record
from tokenroof.search.explain import why_lines
from tokenroof.search.fewest import Counts
from tokenroof.search.judge import checks_of, missed

FloatArray = npt.NDArray[np.float64]


def metrics_of(record: Record) -> dict[str, Metric]:
    """The metrics of a record with units, definitions and intervals; asked quantiles are not among them."""
    found = {}
    for name, value in record.values.items():
        try:
            plain = run_metric(name, value)
        except KeyError:  # a quantile that was asked for: its definition is that of the target
            continue
        found[name] = Metric(
            value=plain.value,
            unit=plain.unit,
            definition=plain.definition,
            low=record.low.get(name),
            high=record.high.get(name),
        )
    return found


def choice_of(
    campaign: Campaign, builder: Builder, bounds: Sequence[LowerBound], candidate: Candidate, needed: Counts
) -> Choice:
    """A candidate with the replicas that it needs, and its spares, at the asked rate."""
    question = campaign.question
    bought = campaign.with_spares(needed)
    served, kept = campaign.run(
        [
            campaign.task(candidate, bought, question.seed, 1.0),
            campaign.task(candidate, needed, question.seed),
        ]
    )
    whole = campaign.spent(candidate, bought)
    deployment, serving = builder.build(candidate, bought)
    checks = checks_of(question, kept)
    fewer = _fewer(campaign, candidate, needed)
    known = not math.isnan(float(whole.usd_per_hour))
    return Choice(
        candidate=candidate,
        deployment=deployment,
        serving=serving,
        replicas=bought,
        needed=needed,
        chips=int(whole.chips),
        nodes=int(whole.nodes),
        racks=int(whole.racks),
        facility_w=None if math.isnan(float(whole.provided_w)) else float(whole.provided_w),
        usd_per_hour=float(whole.usd_per_hour) if known else None,
        objectives=objectives_of(campaign, candidate, bought, served),
        metrics=metrics_of(served),
        checks=checks,
        fewer=fewer,
        bound_chips=least_chips(bounds, [pool.chip for pool in candidate.pools]),
        why=why_lines(campaign.question, campaign.load, candidate, needed, bought, checks, fewer, served),
        notes=(),
    )


def objectives_of(
    campaign: Campaign, candidate: Candidate, bought: Counts, record: Record
) -> Mapping[str, float]:
    """Every objective: money and chips of what is bought, power and latencies as simulated."""
    whole, values = campaign.spent(candidate, bought), record.values
    run_s = values.get("run_s", math.nan)
    carbon = [values.get(f"gco2e_per_mtok_{part}", math.nan) for part in ("operational", "embodied")]
    found = objective_values(
        chips=whole.chips,
        usd_per_hour=whole.usd_per_hour,
        power_w=_array(values.get("run_facility_energy_j", math.nan) / run_s),
        gco2e_per_mtok=_array(sum(carbon)),
        ttft_s=_array(values.get("ttft_s", math.nan)),
        tpot_s=_array(values.get("tpot_s", math.nan)),
        load=campaign.load,
        utilisation_fraction=campaign.question.spending.utilisation_fraction,
    )
    return {name: float(value) for name, value in found.items()}


def _fewer(campaign: Campaign, candidate: Candidate, needed: Counts) -> tuple[Fewer, ...]:
    """One replica fewer of every pool that has more than one."""
    found = []
    for pool, count in enumerate(needed):
        if count <= 1:
            continue
        counts = tuple(each - (index == pool) for index, each in enumerate(needed))
        bad, record = "", None
        for seed in campaign.seeds:
            (record,) = campaign.run([campaign.task(candidate, counts, seed)])
            bad = missed(campaign.question, record)
            if bad:
                break
        assert record is not None, "there is a seed"
        least = campaign.floor(candidate)[pool]
        if not bad and counts[pool] < least:
            bad = f"physics allows no fewer than {least} replicas for a load that goes on"
        found.append(Fewer(replicas=counts, checks=checks_of(campaign.question, record), missed=bad))
    return tuple(found)


def _array(value: float) -> FloatArray:
    return np.asarray(value, dtype=np.float64)
