"""All catalog models under several layouts: operators are well formed and memory is positive."""

import dataclasses

import numpy as np
import pytest
from graph_helpers import model

from tokenroof.catalog.catalog import load
from tokenroof.catalog.counting import total_parameters
from tokenroof.catalog.model import Precision
from tokenroof.graph.build import step_ops
from tokenroof.graph.core import Batch, Op, Parallel
from tokenroof.graph.memory import (
    activation_bytes_per_chip,
    fixed_bytes_per_sequence_per_chip,
    kv_bytes_per_token_per_chip,
    weight_bytes_per_chip,
)
from tokenroof.graph.sharding import sharding_problem

LAYOUTS = (
    Parallel(),
    Parallel(tp=2),
    Parallel(tp=2, dp=2, ep=2),
    Parallel(dp=4, ep=4),
    Parallel(pp=2, cp=2),
    Parallel(dp=2),
)
MIXED = Batch(
    decode_seqs=9,
    decode_context_tokens=9000,
    prefill_seqs=3,
    prefill_tokens=700,
    prefill_past_tokens=100,
    prefill_pairs=120_000,
    prefill_logits=1,
    image_tokens=64,
)


def numbers(op: Op) -> list[object]:
    values = [getattr(op, field.name) for field in dataclasses.fields(op)]
    values += [getattr(op.work, field.name) for field in dataclasses.fields(op.work)]
    return [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]


@pytest.mark.parametrize("name", load().models())
def test_operators_and_memory_are_well_formed(name):
    spec = model(name)
    for parallel in LAYOUTS:
        if sharding_problem(spec, parallel):
            continue
        found = step_ops(spec, spec.precision, parallel, MIXED)
        assert 12 <= len(found) <= 80
        for op in found:
            assert all(value >= 0 and np.isfinite(value) for value in numbers(op)), op
            assert all(type(getattr(op.work, field.name)) is int for field in dataclasses.fields(op.work))
            assert op.count >= 1
        roles = weight_bytes_per_chip(spec, spec.precision, parallel)
        assert all(type(value) is int and value >= 0 for value in roles.values())
        kept = kv_bytes_per_token_per_chip(spec, spec.precision, parallel)
        assert kept + fixed_bytes_per_sequence_per_chip(spec, spec.precision, parallel, 1000) > 0
        assert activation_bytes_per_chip(spec, spec.precision, parallel, 1000) > 0


@pytest.mark.parametrize("name", load().models())
def test_one_chip_holds_every_parameter(name):
    spec = model(name)
    assert sum(weight_bytes_per_chip(spec, Precision(), Parallel()).values()) == 2 * total_parameters(spec)


@pytest.mark.parametrize("name", load().models())
def test_norms_are_those_of_the_layers(name):
    spec = model(name)
    for group in (*spec.layers, *spec.mtp):
        assert 1 <= group.norms <= 8
        assert group.norm_parameters <= 2 * group.norms * spec.hidden
    ops = step_ops(spec, spec.precision, Parallel(), MIXED)
    runs = sum(op.count for op in ops if op.name == "layer.norm")
    mixed = sum(op.count for op in ops if op.name == "hyper.read")
    assert runs + mixed == 1 + sum(group.count * group.norms for group in spec.layers)
    assert bool(mixed) == (spec.residual_streams > 1)
    assert runs <= 1 + 8 * spec.num_layers


@pytest.mark.parametrize(("name", "norms"), [("deepseek-v4-pro", 2), ("kimi-k3", 2), ("gemma-4-26b-a4b", 7)])
def test_what_mixes_streams_is_no_norm(name, norms):
    spec = model(name)
    assert {group.norms for group in spec.layers} == {norms}
    assert all(group.mixing_parameters > 0 for group in spec.layers)
    assert all(group.norm_parameters == norms * spec.hidden for group in spec.layers)
