"""Speculation as rows name it: "eagle3 k=3", "mtp k=1", "none"."""

from __future__ import annotations

import re

from tokenroof.calibrate.validation.core import UnmappedError
from tokenroof.catalog.model import ModelSpec
from tokenroof.deploy.simulated.drafting.core import Drafting
from tokenroof.deploy.simulated.drafting.eagle import Eagle
from tokenroof.deploy.simulated.drafting.mtp import Mtp
from tokenroof.deploy.simulated.drafting.ngram import NGram

_TOKENS = re.compile(r"(?:k|draft_tokens|nextn|mtp|num_speculative_tokens)\s*=?\s*(\d+)", re.I)
_ACCEPTED = re.compile(r"accept\w*\s*[=:]?\s*(0?\.\d+|[01](?:\.\d*)?)", re.I)

RANDOM_TEXT_ACCEPTANCE = 0.19
"""Probability that a draft is right on random tokens, where a row does not say: 15 to 23 % for EAGLE-3 on
gpt-oss-120b (Nebius H200 runs, notes of their rows)."""


def drafting_of(said: str, model: ModelSpec) -> tuple[Drafting | None, tuple[str, ...]]:
    """What drafts, and what was assumed of it.

    Parameters
    ----------
    said : str
        Column ``spec_decoding``; an acceptance may be given with it ("eagle3 k=3 acceptance=0.6").
    model : ModelSpec
        Whose multi-token-prediction modules may draft.

    Raises
    ------
    UnmappedError
        A method that is not known, or no number of draft tokens.
    """
    low = said.lower()
    if low in ("", "none", "off", "false", "no"):
        return None, ()
    tokens = _TOKENS.search(low)
    if tokens is None or int(tokens[1]) < 1:
        raise UnmappedError(f"spec_decoding {said[:60]!r}: how many tokens are drafted is not said (k=N).")
    count = int(tokens[1])
    accepted = _ACCEPTED.search(low)
    fraction = float(accepted[1]) if accepted else RANDOM_TEXT_ACCEPTANCE
    notes = () if accepted else (f"drafts are right {RANDOM_TEXT_ACCEPTANCE:.0%} of the time (random text)",)
    if "eagle" in low:
        return Eagle(draft_tokens=count, acceptance_fraction=fraction), notes
    if "mtp" in low or "nextn" in low:
        if not model.mtp:
            raise UnmappedError(
                f"spec_decoding {said[:60]!r}: {model.name} has no modules that predict ahead."
            )
        return Mtp(draft_tokens=count, acceptance_fraction=fraction), notes
    if "ngram" in low or "lookup" in low:
        return NGram(draft_tokens=count, acceptance_fraction=fraction), notes
    raise UnmappedError(
        f"spec_decoding {said[:60]!r} is not known. Known: eagle3, mtp or ngram with k=N; none."
    )
