"""When speculation pays."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise

import pytest
from planning import CATALOG, ENGINE, question

from tokenroof.deploy.core import Role
from tokenroof.deploy.simulated.drafting.eagle import Eagle
from tokenroof.deploy.simulated.drafting.known import KnownDraft
from tokenroof.deploy.simulated.drafting.mtp import Mtp
from tokenroof.deploy.simulated.drafting.ngram import NGram
from tokenroof.errors import InputError
from tokenroof.graph.core import Parallel
from tokenroof.search.answers.core import DraftTable
from tokenroof.search.answers.speculate import Drafts, break_even_acceptance, speculate
from tokenroof.search.core import Candidate, PoolPlan

ASKED = question("h100")
MINE = Candidate(
    precision=ASKED.model.precision,
    pools=(
        PoolPlan(
            role=Role.BOTH,
            chip="h100",
            engine=ENGINE.name,
            parallel=Parallel(),
            max_num_seqs=256,
            max_num_batched_tokens=8192,
        ),
    ),
)
BATCHES = (1, 8, 64, 256)
ACCEPTANCES = (0.0, 0.3, 0.6, 0.9, 1.0)


def made(drafts: Drafts, **given: tuple[int, ...]) -> DraftTable:
    usual = {"draft_tokens": (1, 3), "sequences": BATCHES, "acceptances": ACCEPTANCES}
    return speculate(ASKED, MINE, drafts, **(usual | given))  # type: ignore[arg-type]


def test_drafts_that_are_never_right_never_pay() -> None:
    for row in made(Eagle).rows:
        if row.acceptance_fraction == 0.0:
            assert row.tokens_per_step == 1.0
            assert not row.pays


def test_a_higher_acceptance_is_never_slower() -> None:
    rows = made(Eagle).rows
    for one, other in pairwise(rows):
        if one.sequences == other.sequences and one.draft_tokens == other.draft_tokens:
            assert one.speedup < other.speedup


def test_the_break_even_tells_what_pays() -> None:
    for drafts in (Eagle, NGram, partial(KnownDraft, draft_step_s=0.002)):
        for row in made(drafts).rows:
            assert row.pays == (row.acceptance_fraction > row.break_even_acceptance_fraction)


def test_drafts_pay_less_in_a_large_batch() -> None:
    rows = [row for row in made(Eagle, draft_tokens=(3,)).rows if row.acceptance_fraction == 0.6]
    assert rows[0].speedup > 1.3
    assert rows[-1].speedup < rows[0].speedup


def test_time_that_is_known_is_added_to_the_step() -> None:
    free = made(partial(KnownDraft, draft_step_s=0.0), draft_tokens=(3,), acceptances=(0.5,)).rows
    slow = made(partial(KnownDraft, draft_step_s=0.01), draft_tokens=(3,), acceptances=(0.5,)).rows
    for one, other in zip(free, slow, strict=True):
        assert other.drafted_step_s == pytest.approx(one.drafted_step_s + 0.01)
        assert other.tokens_per_step == pytest.approx(1.0 + 0.5 + 0.25 + 0.125)
        assert other.speedup == pytest.approx(1.875 * other.plain_step_s / other.drafted_step_s)


def test_the_best_is_the_fastest_number_of_drafts() -> None:
    found = made(NGram, draft_tokens=(1, 2, 3, 5))
    assert len(found.best) == len(BATCHES) * len(ACCEPTANCES)
    for best in found.best:
        rivals = [
            row.speedup
            for row in found.rows
            if (row.sequences, row.acceptance_fraction) == (best.sequences, best.acceptance_fraction)
        ]
        assert len(rivals) == 4
        assert best.speedup == max(rivals)
    assert all(best.draft_tokens == 1 for best in found.best if best.acceptance_fraction == 0.0)


@pytest.mark.parametrize("drafts", [1, 2, 5, 8])
def test_at_the_break_even_a_step_yields_its_length(drafts: int) -> None:
    for step_ratio in (1.01, 1.5, drafts + 1.0):
        found = break_even_acceptance(drafts, step_ratio)
        if step_ratio <= drafts + 1:
            assert sum(found**power for power in range(drafts + 1)) == pytest.approx(step_ratio)
    assert break_even_acceptance(drafts, drafts + 1.001) == math.inf
    assert break_even_acceptance(drafts, 0.9) == 0.0


def test_batches_that_do_not_fit_are_not_in_the_table() -> None:
    found = made(NGram, sequences=(1, 10_000))
    assert {row.sequences for row in found.rows} == {1}
    assert found.most_sequences <= 256


def test_a_model_without_such_layers_cannot_draft_with_them() -> None:
    with pytest.raises(InputError, match="multi-token"):
        made(Mtp)
    assert CATALOG.model("llama-3.1-8b").mtp == ()
