"""The two halves of a model, each a model of its own: what a pool holds and computes of it."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from tokenroof.catalog.model import ModelSpec
from tokenroof.deploy.core import Deployment, Pool, Role
from tokenroof.deploy.halves.core import FeedForward


@lru_cache(maxsize=64)
def attention_half(model: ModelSpec) -> ModelSpec:
    """Everything but the feed-forwards: mixers and their caches, norms, token table, head, image encoder."""
    layers = tuple(replace(group, ffn=None) for group in model.layers)
    return replace(model, layers=layers, mtp=(), mtp_extra_parameters=0)


@lru_cache(maxsize=64)
def feed_forward_half(model: ModelSpec) -> ModelSpec:
    """The feed-forwards alone, routers and shared experts included; no vocabulary, no cache."""
    layers = tuple(
        replace(group, mixers=(), norm_parameters=0, norms=0, mixing_parameters=0)
        for group in model.layers
        if group.ffn is not None
    )
    return replace(
        model, layers=layers, vocab=0, extra_parameters=0, vision=None, mtp=(), mtp_extra_parameters=0
    )


def feed_forward_of(deployment: Deployment) -> FeedForward | None:
    """The pool that computes feed-forwards for the decode pool; None where layers are whole."""
    return next((pool for pool in deployment.pools if isinstance(pool, FeedForward)), None)


def part_of(deployment: Deployment, pool: Pool) -> ModelSpec:
    """What of the model a pool of the deployment holds and computes."""
    model = deployment.model
    if feed_forward_of(deployment) is None:
        return model
    if pool.role is Role.DECODE:
        return attention_half(model)
    return feed_forward_half(model) if pool.role is Role.FEED_FORWARD else model
