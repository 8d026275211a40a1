"""Write docs/energy-accuracy.md: modelled board power and energy against measured and published ones.

Run as ``python scripts/energy_accuracy.py``; reads calibration/measured/power.parquet and the catalog.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from tokenroof.calibrate import energy_report as report
from tokenroof.calibrate.power import (
    TRANSFER_FACTOR,
    Fit,
    coverage,
    fit,
    held_out_error,
    load_measured,
    part,
    widening,
)
from tokenroof.catalog.catalog import Catalog, load
from tokenroof.perf.core import Machine
from tokenroof.perf.energy import power_interval

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "energy-accuracy.md"
CHIPS = ("h100", "h200", "b200", "b300", "gb200-nvl72", "gb300-nvl72", "mi300x", "mi325x", "mi355x")
RTX = "rtx-pro-6000"


def percent(fraction: float, signed: str = "") -> str:
    """A whole percentage."""
    return f"{100 * fraction:{signed}.0f} %"


def table(members: Sequence[report.Errors], title: str) -> list[str]:
    """One line per group."""
    return [
        f"| {title} | rows | measured, median | median error | mean error | bias |",
        "|---|--:|--:|--:|--:|--:|",
        *(
            f"| {one.name} | {one.rows} | {one.measured_w:.0f} W | {percent(one.median_fraction)} "
            f"| {percent(one.mean_fraction)} | {percent(one.bias_fraction, '+')} |"
            for one in members
        ),
    ]


def introduction(found: Fit, rows: int) -> list[str]:
    """What is compared, and the formula."""
    static, half = found.shares
    return [
        "# How accurate is energy?",
        "",
        "<!-- Written by scripts/energy_accuracy.py; do not edit. -->",
        "",
        "Modelled power against the board power that NVIDIA's AIConfigurator (wheel",
        "aiconfigurator_core 0.12.0,",
        "Apache-2.0) recorded while vLLM 0.22 ran decode attention, prefill attention and experts on",
        "a B200 of",
        "1000 W. The rows ship in `calibration/measured/power.parquet`, drawn by",
        "`scripts/sample_power.py`; the",
        "numbers are fitted by `scripts/fit_power.py`.",
        "",
        "```",
        "power    = static + activity x room / (activity + room)       room = TDP - static",
        "activity = J/byte x byte rate + room x (issued flop rate / dense peak) / h",
        "```",
        "",
        f"Two numbers: static = {percent(static)} of the TDP, h = {100 * half:.1f} % of the peak.",
        "J/byte is the",
        "memory technology's (4 pJ/bit for HBM3e), not fitted.",
        "",
        "- **static**: awake with next to nothing to do: the 5 % quantile of what was read during",
        "  short decode",
        "  calls.",
        "- **h**, the one fitted number: arithmetic at this part of the peak rate alone draws half of",
        "  the room.",
        "  It stands for the units being awake (instructions, operands, clocks), not for multipliers:",
        "  energy per",
        "  flop falls as a kernel keeps the units busier. That is what the measurements show: 0.01 of",
        "  the peak",
        "  draws far more than 1 % of the room, and everything busy ends at the limit.",
        "- **issued flop**: matrix instructions take whole tiles (`perf/issue.py`): 16 rows in decode",
        "  attention and",
        "  in products, 64 per expert, 128 queries of a prompt. An expert with one token issues 64",
        "  times its flop,",
        "  which is why experts that only stream weights draw far more than decode attention at equal",
        "  bandwidth.",
        "- **the bend**: a board close to its limit lowers its clock; no power is above the TDP.",
        "",
        f"## Errors on what the fit did not see ({rows} rows)",
        "",
        "Each line was predicted with h fitted to all other groups. Power is over the *measured*",
        "time, so errors",
        "of the time formulas are not in it. Every operator counts the same in a fit, however many",
        "rows it has.",
        "The form itself (the bend, the row tile of experts) was chosen among some twenty by these",
        "errors, with all",
        "three operators in view, so they flatter it a little.",
        "",
    ]


def selection(measured: pl.DataFrame, machine: Machine) -> list[str]:
    """Why only long calls are used."""
    return [
        "## Which readings can be trusted",
        "",
        "The collector repeats a call at most 3000 times and samples NVML every 100 ms, and NVML's",
        "reading is an",
        "average over up to a second (source: `collector/helper.py` of ai-dynamo/aiconfigurator; NVML",
        "reference).",
        "Calls under 300 us run for less than a second in all, so their reading is partly what ran",
        "*before*: set-up",
        "of the case. It shows: bf16 decode attention at more than 60 % of the bandwidth, by length",
        "of the call:",
        "",
        "| call | rows | bandwidth used, median | watts read, median |",
        "|---|--:|--:|--:|",
        *(
            f"| {name} | {rows} | {percent(fraction)} | {watts:.0f} W |"
            for name, rows, fraction, watts in report.by_call_length(measured, machine)
        ),
        "",
        "The same bandwidth cannot draw a third less because the call is shorter. So the fit uses",
        "calls of at",
        "least 300 us, and, for decode and experts, caches and weights above two last-level caches",
        "(they re-read",
        "one set). The former fit used calls from 100 us on; part of its error was in the readings.",
    ]


def unmeasured(measured: pl.DataFrame, found: Fit, machine: Machine) -> list[str]:
    """Rows outside."""
    return [
        "## Rows that no fit used",
        "",
        *table(report.outside(measured, found, machine), "rows"),
        "",
        '"short loop" are the readings just called unreliable (and cached sets): an upper bound of',
        "the error at",
        'light load, not a measure of it. "other kernel" is vLLM\'s Triton attention and head',
        "dimension 512, which",
        "the operator formulas do not know.",
    ]


def published(catalog: Catalog) -> list[str]:
    """Facility power against published all-in power, and the RTX PRO 6000 model."""
    found = [report.drawn(catalog, name) for name in CHIPS]
    lines = [
        "## Energy per token against published all-in power",
        "",
        f"{report.MODEL} in its own precision on one chip, {report.DECODE_SEQS} sequences of "
        f"{report.CONTEXT_TOKENS} tokens decoding; prefill of one prompt of {report.PROMPT_TOKENS}. At",
        "the meter",
        "= chip x server factor 1.6 x PUE 1.54. Published = all-in provisioned power per GPU of the",
        "SemiAnalysis",
        "model (InferenceX constants, an assumption of theirs, sized for the worst case, host,",
        "network and cooling",
        "included), so ours should lie below it, and not by much when a chip is busy. J/token uses",
        "our rate for",
        "both: the comparison is of power alone.",
        "",
        "| chip | TDP | decode | prefill | at the meter, decode | published | ours / published "
        "| J/token ours | J/token published |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for one in found:
        ratio = one.facility_w / one.published_w
        lines.append(
            f"| {one.chip} | {one.tdp_w:.0f} W | {one.decode_w:.0f} W | {one.prefill_w:.0f} W "
            f"| {one.facility_w:.0f} W | {one.published_w:.0f} W | {ratio:.2f} | {one.decode_j:.3f} "
            f"| {one.published_j:.3f} |"
        )
    logs = [math.log(one.facility_w / one.published_w) for one in found]
    lines += [
        "",
        f"Ours over published: geometric mean {math.exp(sum(logs) / len(logs)):.2f}, from "
        f"{math.exp(min(logs)):.2f} to {math.exp(max(logs)):.2f}. The rack-scale boards (GB200, GB300)",
        "and MI355X",
        "have the smallest published overhead over TDP (1.5 to 1.9); our one factor for every server",
        "overstates them.",
        "",
        "## Against the power model of an RTX PRO 6000",
        "",
        "LLMServingSim's `single_node_power_instance.json` (MIT) is the only other power model of a",
        "single card at",
        "hand; it is a model too (assumed states), so this is a comparison, not a validation.",
        "",
    ]
    model = {name: row.value for name, row in catalog.economics().groups["power_model"].items()}
    card = report.drawn(catalog, RTX)
    bandwidth = next(iter(catalog.chip(RTX).memory)).bandwidth_bytes_per_s.value
    active_w, standby_w = model["rtx_pro_6000_active_w"], model["rtx_pro_6000_standby_w"]
    stream_w = bandwidth * model["dram_j_per_byte"]
    lines += [
        "| state | ours | theirs |",
        "|---|--:|--:|",
        f"| no work, asleep | not modelled | {model['rtx_pro_6000_idle_w']:.0f} W |",
        f"| no work, awake | {card.static_w:.0f} W | {standby_w:.0f} W (standby) |",
        f"| decode | {card.decode_w:.0f} W | {active_w:.0f} W, and at full rate {stream_w:.0f} W of memory |",
        f"| prefill | {card.prefill_w:.0f} W | {active_w:.0f} W and memory |",
        "",
        "Theirs has one active power for all work, at the TDP, and adds memory above it; ours stays under",
        "the TDP and tells decode from prefill. A card that sleeps between requests draws far less than our",
        "static share: a deployment that idles for minutes is overstated by us.",
    ]
    return lines


def intervals(found: Fit) -> list[str]:
    """The shipped intervals and how well they transfer."""
    exponent = widening(found)
    lines = [
        "## Intervals",
        "",
        "5 % and 95 % quantiles of measured over modelled power where the operator was left out of",
        "the fit, in",
        "`power.csv` and from `tokenroof.perf.energy.power_interval(chip, op)`: factors on power and",
        "on energy per",
        'token at given time. Operators without measured power get "any": all three alike, raised to',
        "the power of",
        f"{exponent:g}, which is what makes intervals of two operators cover 90 % of the third one's",
        "rows on average.",
        f"A chip other than the B200 gets them wider by a factor of {TRANSFER_FACTOR:g}, added in",
        "quadrature of",
        "logarithms: an assumption.",
        "",
        "| operator | B200 | any other chip | rows inside the interval of the two others | raised |",
        "|---|---|---|--:|--:|",
    ]
    plain, raised = coverage(found, 1.0), coverage(found, exponent)
    for op in (*plain, "any"):
        own, other = power_interval("b200", op), power_interval("h100", op)
        inside = f"{percent(plain[op])} | {percent(raised[op])}" if op in plain else "|"
        lines.append(
            f"| {op} | {own.low_factor:.2f} to {own.high_factor:.2f} | {other.low_factor:.2f} to "
            f"{other.high_factor:.2f} | {inside} |"
        )
    return lines


def page() -> str:
    """The whole page."""
    catalog = load()
    measured = load_measured(ROOT / "calibration" / "measured")
    machine = report.measured_machine(catalog)
    found = fit(measured, machine)
    short_w, longer_w = report.long_prompts(measured)
    lines = introduction(found, part(measured, "fitted").height)
    for by, title in (
        ("op", "operator left out"),
        ("dtype", "dtype left out"),
        ("family", "shapes left out"),
    ):
        lines += [*table(report.by_left_out(measured, found, by), title), ""]
    lines += [
        f"Mean over left-out operators: {percent(held_out_error(found))}; over dtypes "
        f"{percent(held_out_error(found, 'dtype'))}; over shape families",
        f"{percent(held_out_error(found, 'family'))}.",
        "",
        "By load: the larger of the fractions of bandwidth and of peak (useful flop), operator left out:",
        "",
        *table(report.by_load(measured, found, machine), "operator, load"),
        "",
        "## Before",
        "",
        "The former formula (a static share, arithmetic at most one TDP at the full peak, bytes; a",
        "hard limit; two",
        "fitted numbers) on the same rows, fitted in the same way, operator left out:",
        "",
        *table(report.former(measured, machine), "operator"),
        "",
        *selection(measured, machine),
        "",
        *unmeasured(measured, found, machine),
        "",
        *intervals(found),
        "",
        *published(catalog),
        "",
        "## What is not validated",
        "",
        "- **Any chip but the B200.** Others take its shares of their own TDP.",
        "- **Products (GEMM), latent and linear attention, norms, collectives**: no power was",
        "  recorded for them. A dense model's decode energy is mostly products: their tile (16 rows)",
        f"  is an assumption; with 64 as for experts, {report.MODEL} with 8 sequences on a B200 would",
        "  draw about a quarter more.",
        "- **4-bit formats**: joules per flop scale with the peak of the dtype; experts in bf16 and",
        "  fp8 agree with that,",
        "  nothing was measured for fp4.",
        "- **Light load**: between idle and a tenth of the bandwidth the meter was too slow (above).",
        "- **Whole servings**: no run with both tokens and joules is at hand. Energy per token adds",
        "  the error of time.",
        "- **Data**: benchmarks use random numbers; real weights and caches may switch fewer bits.",
        f"- **Heat and clocks**: bf16 prompts beyond 10,000 tokens read {longer_w:.0f} W, those of",
        "  2,000 to 10,000",
        f"  {short_w:.0f} W, though no less busy; not explained, not modelled.",
        "- **Wires and network**: catalog assumptions per bit.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
