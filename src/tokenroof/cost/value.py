"""Performance for what it costs: the three denominators that a fleet is chosen by."""

from __future__ import annotations

from tokenroof.cost.money import SECONDS_PER_HOUR, Num


def tokens_per_usd(*, tokens_per_s: Num, usd_per_hour: Num) -> Num:
    """Tokens for one dollar: performance per TCO. [tokens/USD]

    >>> tokens_per_usd(tokens_per_s=1000.0, usd_per_hour=3.6)
    1000000.0
    """
    return tokens_per_s * SECONDS_PER_HOUR / usd_per_hour


def tokens_per_s_per_w(*, tokens_per_s: Num, power_w: Num) -> Num:
    """Tokens for one joule: performance per watt. [tokens/s/W]"""
    return tokens_per_s / power_w


def tokens_per_kgco2e(*, tokens_per_s: Num, kgco2e_per_s: Num) -> Num:
    """Tokens for one kilogram: performance per carbon. [tokens/kgCO2e]"""
    return tokens_per_s / kgco2e_per_s
