"""Speculation as rows name it: "eagle3 k=3", "mtp k=1", "none"."""

from __future__ import annotations

import math
import re

import numpy as np

from tokenroof.calibrate.validation.core import UnmappedError
from tokenroof.catalog.model import ModelSpec
from tokenroof.deploy.simulated.drafting.core import Drafting
from tokenroof.deploy.simulated.drafting.eagle import Eagle
from tokenroof.deploy.simulated.drafting.mtp import Mtp
from tokenroof.deploy.simulated.drafting.ngram import NGram

_TOKENS = re.compile(r"(?:k|draft_tokens|nextn|mtp|num_speculative_tokens)\s*=?\s*(\d+)", re.I)
_ACCEPTED = re.compile(r"accept\w*\s*[=:]?\s*(0?\.\d+|[01](?:\.\d*)?)", re.I)

RANDOM_TEXT_ACCEPTED = (0.23, 0.15)
"""Accepted over drafted tokens on random text, for one draft token and for seven, where a row does not say:
15 to 23 % for EAGLE-3 on gpt-oss-120b (notes of the Nebius H200 rows), more drafts having the lower share."""

_MOST_DRAFTED = 7
_CHANCES = 10_001

EAGLE3_VOCAB = 32000
"""Tokens that heads of EAGLE-3 choose from (``draft_vocab_size`` of the published ones)."""


def chance_of(accepted_fraction: float, draft_tokens: int) -> float:
    """Probability that a draft is right given that those before it were, from accepted over drafted.

    Of k drafts, the sum of p to p**k are accepted: p such that this is ``accepted_fraction * k``.
    """
    powers = np.arange(1, draft_tokens + 1)
    wanted = accepted_fraction * draft_tokens
    chances = np.linspace(0.0, 1.0, _CHANCES)
    return float(np.interp(wanted, (chances[:, None] ** powers).sum(axis=1), chances))


def _random_text_chance(draft_tokens: int) -> float:
    one, seven = RANDOM_TEXT_ACCEPTED
    share = min(1.0, math.log(draft_tokens) / math.log(_MOST_DRAFTED))
    return chance_of(one + share * (seven - one), draft_tokens)


MOST_DRAFTED = 64
"""Engines draft 1 to 16 tokens, trees of them up to 64 (EAGLE-2 drafts 60); more is a slip."""


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
    if count > MOST_DRAFTED:
        raise UnmappedError(f"spec_decoding {said[:60]!r}: at most {MOST_DRAFTED} tokens can be drafted.")
    accepted = _ACCEPTED.search(low)
    fraction = float(accepted[1]) if accepted else _random_text_chance(count)
    notes = (
        () if accepted else (f"a draft after right ones is right {fraction:.0%} of the time: random text",)
    )
    if "eagle" in low:
        vocab = EAGLE3_VOCAB if "eagle3" in low.replace("-", "") else None
        return Eagle(draft_tokens=count, acceptance_fraction=fraction, vocab=vocab), notes
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
