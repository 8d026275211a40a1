"""``tokenroof plan``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

import tokenroof.cli.options as o
import tokenroof.cli.plan_options as p
import tokenroof.cli.run_options as r
from tokenroof.cli.output import console, notes, pairs
from tokenroof.errors import InputError

if TYPE_CHECKING:
    from tokenroof.api.plan_run import Planned, Task

INFEASIBLE = 3
SEVERAL = "tokenroof-plans/1"
"""Schema of the JSON of several models: ``plans`` has a document of each."""

_INTERRUPTED = 130
_TARGETS = ("ttft_p99", "ttft_p95", "tpot_p99", "tpot_p95", "itl_p99", "e2e_p99", "e2e_p95")
_LIMITS = {
    "max_chips": "chips",
    "max_usd_per_hour": "usd_per_hour",
    "max_power": "power",
    "max_racks": "racks",
}
_TRAFFIC = ("isl", "osl", "rate", "burstiness", "num_requests", "duration", "trace", "trace_format")
_SPACE = ("colocated", "disaggregated", "mixed_chips", "most_chips_per_replica", "most_simulated")
_COST = {
    "price": "price",
    "capex": "capex_usd",
    "region": "region",
    "pue": "pue",
    "utilisation": "utilisation",
}
_TIERS = {"host_gb": "host", "ssd_gb": "ssd", "remote_gb": "remote"}


def plan(
    context: typer.Context,
    file: p.PlanFile = None,
    model: p.Models = None,
    chips: p.Chips = None,
    rate: p.Rate = None,
    isl: r.Isl = None,
    osl: r.Osl = None,
    burstiness: r.Burstiness = None,
    num_requests: p.NumRequests = None,
    duration: r.Duration = None,
    trace: r.Trace = None,
    trace_format: r.TraceFormat = None,
    ttft_p99: p.TtftP99 = None,
    ttft_p95: p.TtftP95 = None,
    tpot_p99: p.TpotP99 = None,
    tpot_p95: p.TpotP95 = None,
    itl_p99: p.ItlP99 = None,
    e2e_p99: p.E2eP99 = None,
    e2e_p95: p.E2eP95 = None,
    slo: p.Slo = None,
    max_chips: p.MaxChips = None,
    max_usd_per_hour: p.MaxUsdPerHour = None,
    max_power: p.MaxPower = None,
    max_racks: p.MaxRacks = None,
    objective: p.Objectives = None,
    headroom: p.Headroom = None,
    spare_replicas: p.SpareReplicas = None,
    weights: p.Weights = None,
    kv: p.Kv = None,
    engine: p.Engines = None,
    colocated: p.Colocated = None,
    disaggregated: p.Disaggregated = None,
    mixed_chips: p.MixedChips = None,
    most_chips_per_replica: p.MostChips = None,
    most_simulated: p.MostSimulated = None,
    expert_load_factor: o.ExpertLoadFactor = None,
    speculate: r.Speculate = None,
    host_gb: r.HostGb = None,
    ssd_gb: r.SsdGb = None,
    remote_gb: r.RemoteGb = None,
    price: o.Price = None,
    capex: o.Capex = None,
    region: o.Region = None,
    pue: o.Pue = None,
    utilisation: o.Utilisation = None,
    answers: p.Answers = None,
    api: p.Api = None,
    catalogs: o.Catalogs = None,
    sets: p.Sets = None,
    seed: r.Seed = None,
    workers: p.Workers = None,
    out: p.Out = None,
    resume: p.Resume = False,
    quiet: p.Quiet = False,
    json: o.Json = False,
    html: o.Html = None,
) -> None:
    """Which deployments are best for a load, what they cost, and why; exit code 3 when none can be.

    tokenroof plan --model llama-3.3-70b --chips h100,h200,b200 --trace azure-2023-conv --ttft-p99 1s
    --tpot-p95 40ms --out runs/azure
    """
    from tokenroof.api.answer import check_suffix

    if html is not None:
        check_suffix(html, (".html",))
    if resume and out is None:
        raise InputError("--resume goes on with a run that was kept. Give its directory with --out.")
    from tokenroof.api.plan_run import tasks_of

    over = asked(context.params)
    tasks = tasks_of(_file(file, over, out, resume=resume), over)
    if html is not None and len(tasks) > 1:
        raise InputError(f"--html writes one page, there are {len(tasks)} models. Use --out.")
    answered = []
    for task in tasks:
        place = out / task.question.model.name if out is not None and len(tasks) > 1 else out
        found = _answered(task, place, resume=resume, workers=workers, quiet=quiet)
        answered.append(found)
        pages = [found.page] if found.page is not None else []
        if html is not None:
            pages.append(found.save(html))
        if not json:
            console().print(found.text())
        if not quiet:
            _wrote(found, pages)
    if json:
        _print_json(answered)
    if any(found.result.infeasible is not None for found in answered):
        raise typer.Exit(code=INFEASIBLE)


def _answered(task: Task, place: Path | None, *, resume: bool, workers: int | None, quiet: bool) -> Planned:
    from tokenroof.api.plan_progress import planning
    from tokenroof.api.plan_run import run_plan

    try:
        with planning(task.label, enabled=not quiet) as watch:
            return run_plan(task, out=place, resume=resume, workers=workers, progress=watch)
    except KeyboardInterrupt:
        if place is not None:
            notes().print("what was simulated is kept: the same command with --resume goes on", markup=False)
        raise typer.Exit(code=_INTERRUPTED) from None


def _wrote(found: Planned, pages: Sequence[Path]) -> None:
    """Where the answer lies, and which launch files there are none of."""
    for path in pages:
        notes().print(f"wrote {path}", markup=False)
    if found.deploy is not None:
        count = sum(file.written for file in found.launch)
        notes().print(f"wrote {found.deploy}: {count} files, see its README.md", markup=False)
    for name, why in found.beside.missing:
        notes().print(f"no answer on {name}: {why}", markup=False)
    for file in found.launch:
        if found.deploy is not None and not file.written:
            notes().print(f"no {file.name}: {file.note}", markup=False)


def _print_json(answered: Sequence[Planned]) -> None:
    """One document, or a list of those of several models."""
    if len(answered) == 1:
        typer.echo(answered[0].json())
        return
    import json

    plans = [json.loads(found.json()) for found in answered]
    typer.echo(json.dumps({"schema": SEVERAL, "plans": plans}, indent=2, ensure_ascii=False))


def _file(file: Path | None, over: Mapping[str, Any], out: Path | None, *, resume: bool) -> Path | None:
    """The plan file; of a run that goes on without a question, its own."""
    if file is None and not over and resume and out is not None:
        from tokenroof.api.runs.files import QUESTION

        kept = out / QUESTION
        if not kept.is_file():
            raise InputError(f"'{out}' holds no run to go on with. Check the spelling, or give its plan too.")
        return kept
    return file


def asked(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the command as sections of a plan file: what is not given is not there."""
    from tokenroof.api.spec.reading import merged
    from tokenroof.cli.simulating import laid, speculation

    model = _given(given, {"expert_load_factor": "expert_load_factor"})
    model |= {name: _names(given[name]) for name in ("weights", "kv") if given[name] is not None}
    models = [{"name": name, **model} for name in given["model"] or ()]
    sections = {
        "model": models if len(models) > 1 else models[0] if models else model,
        "traffic": _given(given, {name: name for name in _TRAFFIC}),
        "slo": _given(given, {name: name for name in _TARGETS})
        | {name: _number(text) for name, text in pairs("--slo", given["slo"]).items()},
        "limits": _given(given, _LIMITS),
        "space": _given(given, {name: name for name in _SPACE}),
        "cost": _given(given, _COST),
    }
    found: dict[str, Any] = {name: section for name, section in sections.items() if section}
    found |= _given(given, {"headroom": "headroom", "spare_replicas": "spare_replicas", "seed": "seed"})
    if given["chips"]:
        found["chips"] = _names(*given["chips"])
    if given["engine"] is not None:
        found["engine"] = _names(given["engine"])
    if given["objective"]:
        found["objective"] = _objectives(_names(*given["objective"]))
    if given["speculate"] is not None:
        found["speculation"] = speculation(given["speculate"])
    tiers = [{"tier": tier, "capacity": given[name] * 1e9} for name, tier in _TIERS.items() if given[name]]
    if tiers:
        found["offload"] = tiers
    if given["answers"] is not None:
        names = _names(given["answers"])
        found["answers"] = names[0] if names in (["all"], ["none"]) else names
    if given["api"] is not None:
        found["api"] = _api(given["api"])
    if given["catalogs"]:
        found["catalog"] = [str(path) for path in given["catalogs"]]
    return merged(found, laid(given["sets"])) if given["sets"] else found


def _given(given: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Options that were given, by their keys."""
    return {key: _number(given[name]) for name, key in names.items() if given[name] is not None}


def _number(text: object) -> object:
    """A number where a text is one, in the base unit; else the text: a unit, a distribution, a name."""
    if not isinstance(text, str):
        return text
    try:
        value = float(text)
    except ValueError:
        return text
    return int(value) if value.is_integer() else value


def _names(*texts: str) -> list[str]:
    """Names that are separated by commas."""
    found = [name.strip() for text in texts for name in text.split(",") if name.strip()]
    if not found:
        raise InputError(f"no name in {', '.join(texts)!r}. Give at least one, or leave the option out.")
    return found


def _api(text: str) -> dict[str, object]:
    """Prices of prompts, answers and cached prompts."""
    parts = [_number(part.strip()) for part in text.split(",")]
    if not 2 <= len(parts) <= 3:
        raise InputError(f"--api takes INPUT,OUTPUT in USD per million tokens, got {text!r}.")
    return dict(zip(("input", "output", "cached"), parts, strict=False))


def _objectives(names: Sequence[str]) -> str | list[str] | dict[str, float]:
    """One, several, or weights by name."""
    weighted = [name for name in names if "=" in name]
    if not weighted:
        return names[0] if len(names) == 1 else list(names)
    if len(weighted) < len(names):
        raise InputError("some objectives have a weight and some have none. Weigh all of them or none.")
    found = {}
    for name, text in pairs("--objective", names).items():
        try:
            found[name] = float(text)
        except ValueError:
            raise InputError(f"--objective {name}: the weight must be a number, got {text!r}.") from None
    return found
