"""What is assumed where the halves of layers are apart."""

from __future__ import annotations

from tokenroof.deploy.capacity import resident_weights
from tokenroof.deploy.halves.models import feed_forward_half
from tokenroof.deploy.halves.steps import HalvedSteps


def halves_notes(steps: HalvedSteps) -> tuple[str, ...]:
    """Lines for the assumptions of an answer."""
    attention, feed_forward, deployment = steps.attention, steps.feed_forward, steps.deployment
    half = feed_forward_half(deployment.model)
    weights = sum(resident_weights(half, deployment.precision, feed_forward.parallel).values())
    return (
        f"halves: attention on {attention.parallel.chips} x {attention.chip.name}, feed-forwards on "
        f"{feed_forward.parallel.chips} x {feed_forward.chip.name} ({weights / 1e9:.1f} GB of weights each), "
        f"batches cut into {feed_forward.micro_batches} micro-batches whatever their size",
        "halves: hidden states cross once per token and way in 16 bits; feed-forward chips route tokens to "
        "experts and exchange them among themselves; messages between the halves and inside them do not "
        "contend",
        "halves: every layer takes the mean of all mixers; layers of unlike feed-forwards do not overlap; a "
        "prompt that is computed again goes through one half after the other",
    )
