"""Residuals that are drawn, with known spreads."""

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from tokenroof.calibrate.intervals import Residual
from tokenroof.deploy.known import THROUGHPUT, Asked


def asked(chip: str = "h100", **other: object) -> Asked:
    """A combination; what is not said is a dense bf16 model on vLLM."""
    given = {"family": "hopper", "engine": "vllm", "model": "m0", "kind": "dense", "format": "bf16"}
    return Asked(chip=chip, **given | other)  # type: ignore[arg-type]


def drawn(
    fold: str,
    *,
    groups: int = 10,
    rows: int = 30,
    within: float = 0.05,
    between: float = 0.0,
    bias: float = 0.0,
    metric: str = THROUGHPUT,
    seed: int = 0,
    families: Sequence[str] = ("hopper",),
) -> list[Residual]:
    """Normal residuals, ``rows`` of each of ``groups`` chips, models or engines with levels of their own."""
    random = np.random.default_rng(seed)
    levels = [between * NormalDist().inv_cdf((group + 0.5) / groups) for group in range(groups)]
    random.shuffle(levels)
    return [
        Residual(
            row=f"{fold} {group}-{row}",
            metric=metric,
            fold=fold,
            group=f"g{group}",
            log_ratio=float(bias + levels[group] + within * random.standard_normal()),
            asked=asked(
                chip=f"chip{group}" if fold in ("hardware", "shape") else "chip0",
                family=families[group % len(families)],
                model=f"m{group}" if fold == "model" else "m0",
                engine=f"engine{group}" if fold == "framework" else "vllm",
            ),
        )
        for group in range(groups)
        for row in range(rows)
    ]
