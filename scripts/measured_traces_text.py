"""The words of docs/measured-traces.md, and which note explains which gross error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

OVERLOADED = "codellama-34b reasoning"
NEARLY_FULL = "mixtral-8x7b general"
FULL = (OVERLOADED, NEARLY_FULL)
"""Runs that reach the 128 sequences of a step, measured or predicted."""
BUSY = "llama-2-7b general"
"""A run at 20/s whose longest waits are predicted too long."""
ENGINE_CLOCK = "llama-3.1-8b sharegpt"
"""A run on one chip whose times the engine took itself."""

TITLES = {
    "ttft_s": "## Time to first token [s]",
    "tpot_s": "## Time per output token [ms]",
    "e2e_s": "## End to end [s]",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The overloaded run, predicted or measured.

    Attributes
    ----------
    rate_per_s : float
        First tokens while the line is never empty. [1/s]
    early_tpot_s, late_tpot_s : float
        Time per token of requests that began in 40 to 60 s, and in the last five minutes. [s]
    refill_s : float
        From the end of a request to the next first token, median. [s]
    """

    rate_per_s: float
    early_tpot_s: float
    late_tpot_s: float
    refill_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Overload:
    """Both of them, the rate at which requests are sent [1/s], and the most that were in the system."""

    offered_per_s: float
    most_in_system: int
    predicted: Served
    measured: Served


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineClock:
    """Mean time to the first token by the engine's own clock, and the mean time per token. [s]"""

    requests: int
    predicted_s: float
    measured_s: float
    step_s: float


def footnote(run: str, metric: str, name: str, *, place: str) -> str:
    """Letter of the note that explains a gross error.

    Parameters
    ----------
    run, metric, name : str
        Which run, latency and statistic.
    place : str
        "whole", "stage 0", "stage 1", or "different": all prompts taken as different.

    Raises
    ------
    LookupError
        Nobody has explained it yet.
    """
    started_cold = run.startswith("mixtral") and place == "stage 0"
    if place == "different" and metric in ("ttft_s", "e2e_s"):
        return "d"
    if run == OVERLOADED and metric in ("ttft_s", "e2e_s"):
        return "b"
    if run == NEARLY_FULL and metric == "ttft_s" and not started_cold:
        return "a"
    if run == BUSY and metric == "ttft_s" and name == "p99" and not started_cold:
        return "e"
    if started_cold and metric == "ttft_s" and name in ("mean", "p99"):
        return "c"
    raise LookupError(f"{run}, {place}: {metric} {name} is off by more than a factor of 2, unexplained.")


INTRODUCTION = """# Measured traces

<!-- Written by scripts/measured_traces.py; do not edit. -->

Real servers were sent requests at recorded times; here the same requests are simulated, with the shipped
numbers and the recorded limits of the engine. No request of these runs was fitted to; the means of most of
their stages are rows of [accuracy](accuracy.md), which parameters are fitted to. Ratios are predicted over
measured; errors of more than a factor of 2 are **bold** and lead to the note that explains them. The data,
their sources and licences: [calibration/measured_serving](../calibration/measured_serving/README.md).

## Conditions
"""

CONDITIONS = """All: vLLM with max_num_seqs 128 and max_num_batched_tokens 2048, bf16 weights and cache, one
replica, open loop (Poisson arrivals, replayed as they were). Whole runs, first requests included; a
percentile is linear between neighbours. TPOT is (E2E - TTFT) / (output tokens - 1) per request, with the
tokens that the server had to produce.

- *client* runs (inference-perf): times include HTTP, tokenising and streaming. Where the client ran is not
  recorded. Nor is whether the prefix cache was on (vLLM's default); it was, see [below](#prompts-repeat).
- *engine* runs (benchmark of LLMServingSim): times by the engine's own clock. The prefix cache was on; what
  ShareGPT's prompts share is not recorded, so they are taken as all different.
- Not recorded for any run: clocks and power limits, attention backend, graph and compilation settings, host
  processor. The KV blocks of the engine runs are ours (gpu_memory_utilization 0.9).
- Quality: A full metrics and conditions; C overloaded, with timeouts, not for scoring."""


def notes(run: Overload, nearly_full: tuple[float, float], busy: tuple[float, float]) -> str:
    """What explains the gross errors.

    Parameters
    ----------
    run : Overload
        The overloaded run.
    nearly_full, busy : tuple of float
        Requests in the system of these runs at 20/s, predicted and measured.
    """
    ours_in_system, theirs_in_system = nearly_full
    ours, theirs = run.predicted, run.measured
    faster = 100 * (ours.rate_per_s / theirs.rate_per_s - 1)
    return f"""### Notes

<a id="a"></a>**a** At 20/s, {theirs_in_system:.0f} requests are in the system on average as measured and \
{ours_in_system:.0f} as
predicted, since the time per token is too long. The limit of 128 sequences is then reached more often; who
finds it reached waits for a place, and a queue multiplies the error. Its cause is most likely the time of
Mixtral's experts, most of a decode step.

<a id="b"></a>**b** More is sent ({run.offered_per_s:g}/s) than is served: {theirs.rate_per_s:.2f}/s \
measured, {ours.rate_per_s:.2f}/s predicted ({faster:.0f} % more).
The line grows with the difference, {run.offered_per_s - theirs.rate_per_s:.2f}/s against \
{run.offered_per_s - ours.rate_per_s:.2f}/s, so a small error of the rate is a large one of
the wait. The source says not to score latencies of this run. What remains is the time per token of requests
that began in 40 to 60 s, {1e3 * theirs.early_tpot_s:.1f} ms measured and {1e3 * ours.early_tpot_s:.1f} \
predicted, and in the last five minutes,
{1e3 * theirs.late_tpot_s:.1f} and {1e3 * ours.late_tpot_s:.1f}: it creeps up while up to \
{run.most_in_system} requests are in the system. It is not the prefix cache:
a place that becomes free is filled {1e3 * theirs.refill_s:.0f} ms later throughout, too soon for a prompt \
that has to be computed
(60 ms and the steps around it). Nor should there be preemptions: half of the
blocks are in use, as predicted. What grows is the
number of open connections, and the time that the machine has been running; the data cannot tell them apart.

<a id="c"></a>**c** A server that has just been started is slow: in the Mixtral runs the first 50 requests
wait 0.5 to 1 s (kernels are tuned or compiled, one may suppose), in the others the first 4 to 10 wait up to
0.7 s. In a stage of 3000 to 4800 requests that is the measured p99, and it pulls the mean. Not modelled.

<a id="e"></a>**e** At 20/s, {busy[1]:.0f} requests are in the system on average as measured and \
{busy[0]:.0f} as predicted: time per
token and first tokens are too long by 10 to 20 %, and the longest waits, where prompts queue for the 2,048
tokens of a step beside what decodes, grow faster than the load does."""


STAGES = """## By stage

Runs whose rate steps up, each stage apart; ratios. The stages of a run agree: the step itself, with its
changed batch, is followed.
"""

PREFIX = """## Prompts repeat

The client's data set has fewer prompts than there are requests: prompt lengths repeat every 100 requests, and
from the 101st request on the time to the first token is shorter. So prompts come again whole, and are found
in the cache. The tables above therefore take request i to have the prompt of request i - 100, and all
prompts of a round to be different (in truth some share a system prompt of 100 to 150 tokens). The last three
columns are what is predicted when no prompt comes again.
"""


def prefix_found(fractions: Mapping[str, float], tpot_ratios: tuple[float, float, float, float]) -> str:
    """What the cache explains.

    Parameters
    ----------
    fractions : mapping of str to float
        Part of the time at 20/s that computing every prompt would take, by model.
    tpot_ratios : tuple of float
        Predicted over measured time per token where the engine is never full: least and largest without
        repeated prompts, least and largest with them.
    """
    least, most, least_cached, most_cached = (100 * (ratio - 1) for ratio in tpot_ratios)
    parts = ", ".join(f"{100 * part:.0f} % ({model})" for model, part in fractions.items())
    return f"""<a id="d"></a>**d** Computing every prompt would take, of the time at 20/s:
{parts}.
With decoding beside it, the predicted engine is full and its line grows to the end of the run; the real
one's did not. With the cache, 1 to 16 tokens of a prompt are left to
compute. The runs that do not fill the engine say the same: without repeated prompts the time per token is
{least:.0f} to {most:.0f} % too long, with them {least_cached:.0f} to {most_cached:.0f} %. Knowing what \
prompts share is worth more than any other number here."""


FIRST_TOKEN = """## The first token

With cached prompts the wait is a number of engine steps: the rest of the running one, the request's own, and
what the engine puts between. Percentiles of TTFT of the stages, as straight lines in the median time per
token (first minute of each stage left out, and the runs that reach 128 sequences):
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """Waits for the first token, predicted or measured: steps at the least, median and largest percentile.

    Attributes
    ----------
    steps : tuple of float
        Slopes of the straight lines in the time per token.
    constants_s : tuple of float
        What the lines have beside them. [s]
    """

    steps: tuple[float, float, float]
    constants_s: tuple[float, float, float]


def planned_ahead(ours: Waits, theirs: Waits) -> str:
    """What the lines say."""
    later = (sum(theirs.steps) - sum(ours.steps)) / len(ours.steps)
    return f"""vLLM plans a step while the one before is running (asynchronous scheduling, the default since \
0.14), and so
does the simulated engine: who arrives finds the next step planned already, and waits it out. The predicted
waits therefore spread from {ours.steps[0]:.1f} to {ours.steps[2]:.1f} steps; were a step planned as the \
last one ends, it would be a step less.
The measured ones spread from {theirs.steps[0]:.1f} to {theirs.steps[2]:.1f}, for three models on one and \
on two chips: {later:.1f} steps
more on average, perhaps since steps with a prompt in them are longer than those without. The constant,
{1e3 * min(theirs.constants_s):.0f} to {1e3 * max(theirs.constants_s):.0f} ms measured, is between engine \
and client, which is not modelled. Mean TTFT [ms]:
"""


def other_signs(run: Overload, clock: EngineClock, missing_s: tuple[float, float, float]) -> str:
    """What else speaks for steps that are planned ahead, and what is still missing of the first token.

    Parameters
    ----------
    run : Overload
        The run whose line is never empty.
    clock : EngineClock
        The run whose times the engine took.
    missing_s : tuple of float
        Measured less predicted mean TTFT: least and largest below the largest rate, largest at it. [s]
    """
    ours, theirs = run.predicted, run.measured
    low, high, most = (1e3 * value for value in missing_s)
    return f"""Two other signs that steps are planned ahead, neither of which depends much on the client:

- In the overloaded run, a place that becomes free is filled {1e3 * theirs.refill_s:.0f} ms later (median, \
measured), two steps: the
  next one is planned before the engine knows of the place. As predicted {1e3 * ours.refill_s:.0f} ms. The \
client took both times: its
  share cancels.
- {ENGINE_CLOCK}, by the engine's clock: the {clock.requests} requests that found at least 32 others \
and a place free
  wait {1e3 * clock.measured_s:.0f} ms for the first token, {1e3 * clock.predicted_s:.0f} ms predicted; a \
step takes {1e3 * clock.step_s:.0f} ms.

What is missing grows from {low:.0f} to {high:.0f} ms at lower rates to {most:.0f} ms at 20/s: tokenising \
and streaming for
more requests at once, or longer steps with prompts in them. That cannot be told apart here."""


RESIDUALS = """## Where the residual lies

Median of predicted over measured in each quarter of the requests, by time of arrival, by requests in the
system and by length of the prompt: least to largest of the four. Last stage of each run, its first minute
left out (engine runs: all). Prompts of client runs differ by 3 % in length only.
"""


def closing(tpot: Mapping[str, tuple[float, float]]) -> str:
    """What is left, with least and largest predicted over measured mean time per token by kind of run."""
    dense, experts, one, two = (
        f"{100 * (low - 1):+.0f} %"
        if round(low, 2) == round(high, 2)
        else f"{100 * (low - 1):+.0f} to {100 * (high - 1):+.0f} %"
        for low, high in (tpot["dense"], tpot["experts"], tpot["one card"], tpot["two cards"])
    )
    return f"""The residual of client runs is the same at all times and loads, but for the overloaded run
(note [b](#b)) and the nearly full one (note [a](#a)): one factor each, no term that grows with anything.

- **H100**: error of the time per token {dense} for dense models (the overloaded run aside), {experts} for
  Mixtral. Kernel times and the host time of a step (0.5 ms assumed) are to be fitted together.
- **RTX PRO 6000**, one card: {one}. Kernels were measured on the chip; the host's time is assumed.
- **RTX PRO 6000**, two cards: {two}, in decoding and in prefill. All-reduces were measured too, on another
  machine (37 GB/s). At 12 to 15 GB/s, as when cards cannot reach each other and copy through the host's
  memory, the run would by a rough count take as long as measured. How they were connected is not recorded.

## How well can one know

Spread of repeated runs of one configuration, same image (other tests than these): mean TPOT and mean E2E
0.6 % (median) and 3.5 % (90th percentile); mean, median and p99 TTFT 3.3 % and 20 to 26 %. Each run here was
made once: errors of TPOT and E2E below 1 to 4 %, and of TTFT below 5 to 20 %, mean nothing."""
