"""The glossary of what goes out: unit and definition of every metric."""

from __future__ import annotations

from typing import NamedTuple

from tokenroof.deploy.core import Metric


class Term(NamedTuple):
    """Unit and definition of a metric."""

    unit: str
    definition: str


GLOSSARY: dict[str, Term] = {
    "prefill_s": Term("s", "prefill of one prompt alone on an idle replica, all its chunks"),
    "ttft_s": Term(
        "s",
        "time of the prompt's own steps, shared with running decodes, and of its way to the engine; a lower "
        "bound of what is measured: no queue, no wait for the step in progress",
    ),
    "waiting_s": Term(
        "s", "wait for prompts in front, at this concurrency; 0 unless prefill is the bottleneck"
    ),
    "tpot_s": Term(
        "s",
        "(e2e - ttft - waiting) / (osl - 1): mean time between output tokens of a request, as vLLM's bench",
    ),
    "decode_step_s": Term(
        "s", "one decode step at this concurrency, no prompt in it, mean over the growing context"
    ),
    "e2e_s": Term("s", "start to last token: waiting + ttft + (osl - 1) * tpot"),
    "output_tokens_per_s": Term("tokens/s", "output tokens of the deployment in steady state"),
    "output_tokens_per_s_per_chip": Term("tokens/s", "output tokens in steady state over all chips"),
    "total_tokens_per_s_per_chip": Term("tokens/s", "input and output tokens in steady state over all chips"),
    "output_tokens_per_s_per_user": Term("tokens/s", "1 / tpot: interactivity"),
    "requests_per_s": Term(
        "1/s", "finished requests of the deployment in steady state, closed loop at this concurrency"
    ),
    "max_batch": Term("sequences", "sequences of these lengths that the caches of the deployment hold"),
    "kv_transfer_s": Term("s", "hand-off of one prompt's cache from a prefill to a decode replica"),
    "chips": Term("chips", "chips of the deployment"),
    "mfu_fraction": Term(
        "1",
        "model arithmetic over what the peaks of all chips allow, over the steady state, waiting ranks "
        "included; the MFU of a phase is that of a chip at work, so that one prompt on one of several data "
        "parallel ranks is weighed against that rank alone",
    ),
    "usd_per_hour": Term("USD/h", "all chips of the deployment, at the stated price"),
    "usd_per_mtok_output": Term("USD/Mtok", "a million output tokens: the chip time that decoding takes"),
    "usd_per_mtok_input": Term("USD/Mtok", "a million input tokens: the chip time that prefill takes"),
    "usd_per_mtok_total": Term("USD/Mtok", "a million input and output tokens together: all chip time"),
    "power_w_per_chip": Term("W", "mean power of a chip while serving, capped at its limit"),
    "energy_j_per_output_token": Term(
        "J", "energy of the chips over output tokens, prefill and idle paid hours included"
    ),
    "facility_energy_j_per_output_token": Term("J", "the same at the meter: servers and cooling included"),
    "energy_j_per_token": Term("J", "the same over input and output tokens"),
    "gco2e_per_mtok_operational": Term(
        "gCO2e/Mtok", "electricity at the meter, per million input and output tokens"
    ),
    "gco2e_per_mtok_embodied": Term("gCO2e/Mtok", "making of the chips, per million input and output tokens"),
}


def metric(name: str, value: float) -> Metric:
    """A metric with the unit and definition of its name."""
    term = GLOSSARY[name]
    return Metric(value=float(value), unit=term.unit, definition=term.definition)
