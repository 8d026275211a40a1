"""From a plan file to the question that it means."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tokenroof.api.inputs import resolve_chips, resolve_model
from tokenroof.api.lookup import Catalog, load_catalog
from tokenroof.api.planfile import ALL, PlanFile
from tokenroof.api.planning import priced_chips, question_from, usual_requests
from tokenroof.api.spec.core import Spec
from tokenroof.api.spec.sections import CacheSection, CostSection
from tokenroof.api.spec.traffic import TrafficSection
from tokenroof.catalog.core import Chip, Claim, Quantity
from tokenroof.catalog.schema import USER_SOURCE
from tokenroof.cost.basis import GIVEN
from tokenroof.errors import InputError, UnknownNameError
from tokenroof.graph.core import Parallel
from tokenroof.search.answers.core_result import ApiPrice
from tokenroof.search.asked import Question


def catalog_of(plan: PlanFile) -> Catalog:
    """The catalog with the plan's own directories laid over it."""
    return load_catalog(plan.catalog)


def question_of_plan(plan: PlanFile, catalog: Catalog) -> Question:
    """The question that a plan file means.

    Raises
    ------
    InputError
        Unknown names, a trace that cannot be read, what contradicts itself.
    """
    model, space = resolve_model(catalog, plan.model.name), plan.space
    said = Spec.model_validate(
        {
            "model": {"name": model, "expert_load_factor": plan.model.expert_load_factor},
            "chip": "any",
            "traffic": _counted(plan.traffic),
            "classes": plan.classes,
            "speculation": plan.speculation,
            "cache": CacheSection(offload=plan.offload),
            "cost": CostSection(price=GIVEN, **_besides_price(plan.cost)) if plan.prices else plan.cost,
            "seed": plan.seed,
        }
    )
    return question_from(
        said,
        catalog,
        model,
        _chips(plan, catalog),
        slo=plan.slo,
        objective=plan.objective,
        limits=plan.limits,
        formats=(plan.model.weights, plan.model.kv),
        engine=plan.engine,
        space={
            **{
                name: getattr(space, name)
                for name in ("colocated", "disaggregated", "mixed_chips", "mixed_vendors", "max_num_seqs")
            },
            "max_num_batched_tokens": space.max_num_batched_tokens,
            "parallels": tuple(Parallel(**dict(each)) for each in space.layouts),
            "prefix_caching": space.prefix_caching,
            "most_chips_per_replica": space.most_chips_per_replica,
        },
        asked={
            "headroom_fraction": plan.headroom,
            "spare_replicas": plan.spare_replicas,
            "most_simulated": space.most_simulated,
            "confirm_seeds": plan.confirm_seeds,
        },
    )


def api_of(plan: PlanFile) -> ApiPrice | None:
    """What self-hosting is compared with."""
    said = plan.api
    return (
        None
        if said is None
        else ApiPrice(
            usd_per_mtok_input=said.input,
            usd_per_mtok_output=said.output,
            usd_per_mtok_cached=said.cached,
            name=said.name,
        )
    )


def files_of(plan: PlanFile, catalog: Catalog) -> tuple[Path, ...]:
    """The user's own files that decide the answer: catalogs, chip files, a config, a trace."""
    drafts = None if plan.speculation is None else plan.speculation.draft_model
    named_files = [plan.model.name, drafts, *plan.chips, plan.traffic.trace]
    texts = [each for each in named_files if isinstance(each, str) and not each.lstrip().startswith("{")]
    return (*catalog.directories[1:], *(path for path in map(Path, texts) if path.exists()))


def _counted(traffic: TrafficSection) -> TrafficSection:
    """Traffic that says how many requests are sent."""
    if traffic.trace is not None or traffic.num_requests is not None or traffic.duration is not None:
        return traffic
    if traffic.concurrency is not None:
        raise InputError("traffic.concurrency: a plan is for a rate, a closed loop has none. Give rate.")
    if traffic.rate is None:
        raise InputError("traffic: how long is it sent? Give duration or num_requests.")
    return traffic.model_copy(update={"num_requests": usual_requests(traffic.rate[0])})


def _besides_price(cost: CostSection) -> dict[str, Any]:
    return {name: getattr(cost, name) for name in ("region", "utilisation", "pue")}


def _chips(plan: PlanFile, catalog: Catalog) -> tuple[Chip, ...]:
    """Chips by name, each once, with the user's own prices."""
    if not plan.chips:
        return ()
    if ALL in plan.chips and len(plan.chips) > 1:
        rest = resolve_chips(catalog, [each for each in plan.chips if each != ALL])
        found = {chip.name: chip for chip in (*priced_chips(catalog), *rest)}
    else:
        given = priced_chips(catalog) if ALL in plan.chips else resolve_chips(catalog, plan.chips)
        found = {chip.name: chip for chip in given}
    if not plan.prices:
        return tuple(found.values())
    for name in plan.prices:
        if name not in found:
            raise UnknownNameError("chip of this plan", name, found)
    missing = [name for name in found if name not in plan.prices]
    if missing:
        raise InputError(f"prices: none is given for {', '.join(missing)}. Give one for every chip.")
    return tuple(
        replace(chip, prices_usd_per_hour={GIVEN: _own(plan.prices[chip.name])}) for chip in found.values()
    )


def _own(usd_per_hour: float) -> Quantity:
    return Quantity(value=usd_per_hour, unit="USD/h", source=USER_SOURCE, claim=Claim.ASSUMPTION)
