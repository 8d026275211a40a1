"""The nouns of a validation: what a row says, what is asked of the simulator, what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tokenroof.deploy.core import Deployment, Estimate
from tokenroof.deploy.simulated.question import Serving
from tokenroof.errors import InputError
from tokenroof.workload.core import Requests, Slo

METRICS: Mapping[str, str] = {
    "total_tput_per_gpu": "prompt and answer tokens per second, over all chips of the row",
    "output_tput_per_gpu": "answer tokens per second, over all chips of the row",
    "input_tput_per_gpu": "prompt tokens per second, over all chips of the row",
    "mean_tpot_s": "mean over requests of (end to end - first token) / (answer tokens - 1)",
    "median_tpot_s": "median over requests of (end to end - first token) / (answer tokens - 1)",
    "median_ttft_s": "median over requests of the time to the first token, as the client saw it",
    "mean_ttft_s": "mean over requests of the time to the first token, as the client saw it",
    "p99_ttft_s": "99th percentile over requests of the time to the first token",
    "mean_e2e_s": "mean over requests of the time from sending to the last token",
}
"""What is scored, by the name of its column, with its definition."""


class UnmappedError(InputError):
    """A row that cannot be predicted; the message is its reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured serving as its file has it.

    Attributes
    ----------
    line : int
        Where it stands in its file.
    texts : mapping of str to str
        Column to text; "" and absent are both "not said".
    """

    line: int
    texts: Mapping[str, str] = field(repr=False)

    @property
    def id(self) -> str:
        """Its name, or the line it stands in."""
        return self.texts.get("id", "").strip() or f"line {self.line}"

    def text(self, column: str) -> str:
        """What a column says, without blanks around; "" when it says nothing."""
        return (self.texts.get(column) or "").strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A row as a question to the simulator.

    Attributes
    ----------
    row : Row
        Where it comes from.
    deployment, serving : Deployment, Serving
        What serves, and how.
    requests : Requests
        What the client sends, in its way.
    counts_chips : float
        Chips that throughput is divided by; half of them where a row counts boards of two.
    steady : bool
        The queue is longer than what is sent of it: throughput is counted while the deployment is full.
    beams : int
        Answers to each prompt of which one is kept: so many times too long are those that are sent.
    limits : Slo or None
        The row is the highest rate that meets them at the 99th percentile; None: it is served as sent.
    notes : tuple of str
        What the row does not say and was assumed.
    """

    row: Row
    deployment: Deployment
    serving: Serving
    requests: Requests = field(repr=False)
    counts_chips: float
    steady: bool = False
    beams: int = 1
    limits: Slo | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a row.

    Attributes
    ----------
    row : Row
        Which.
    measured : mapping of str to float
        Metrics of :data:`METRICS` that the row gives and that are fit to be scored.
    predicted : mapping of str to float
        The same ones and more; empty when there is no prediction.
    reason : str
        Why there is none; "" otherwise.
    notes : tuple of str
        What was assumed.
    intervals : mapping of str to (float, float)
        Of predicted metrics, 90 %.
    estimate : Estimate or None
        The whole answer, without its run.
    """

    row: Row
    measured: Mapping[str, float]
    predicted: Mapping[str, float]
    reason: str = ""
    notes: tuple[str, ...] = ()
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    estimate: Estimate | None = field(default=None, repr=False)
