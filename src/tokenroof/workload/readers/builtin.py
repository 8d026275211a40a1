"""Traces that come with the package, by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_DATA = Path(__file__).resolve().parent.parent / "data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Builtin:
    """A trace of the package.

    Attributes
    ----------
    file : str
        Its file in ``workload/data``, where a README says how it was made.
    what : str
        What it is.
    source : str
        Where it is from, with its licence.
    """

    file: str
    what: str
    source: str

    @property
    def path(self) -> Path:
        """Where it lies."""
        return _DATA / self.file


BUILTIN = {
    "azure-2023-conv": Builtin(
        file="azure-2023-conv.csv.gz",
        what="one hour of an Azure chat service, 19,366 requests, 16 November 2023",
        source="Azure LLM inference trace 2023, conversation (CC-BY 4.0); Patel et al., Splitwise, ISCA 2024",
    ),
    "mooncake-conversation-sample": Builtin(
        file="mooncake-conversation-sample.jsonl.gz",
        what="the first 500 requests of Mooncake's conversation trace, with shared prefixes",
        source="Mooncake conversation trace, 500 requests (Apache-2.0); Qin et al., Mooncake, FAST 2025",
    ),
}


def builtin_traces() -> dict[str, str]:
    """Names that ``read_trace`` knows without a file, and what they are."""
    return {name: trace.what for name, trace in BUILTIN.items()}
