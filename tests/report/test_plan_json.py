"""The JSON of a plan: nothing lost, nothing renamed, nothing that is no number."""

import json

import plans_by_hand
import pytest

from tokenroof.report.plan_json import SCHEMA, document, dumps

TOP = [
    "schema",
    "definitions",
    "objectives",
    "question",
    "load",
    "feasible",
    "infeasible",
    "front",
    "others",
    "bounds",
    "candidates",
    "simulated",
    "rejected",
    "answers",
    "notes",
]
CHOICE = [
    "label",
    "family",
    "chips",
    "nodes",
    "racks",
    "bound_chips",
    "facility_w",
    "usd_per_hour",
    "precision",
    "pools",
    "drafting",
    "prefix_caching",
    "offload",
    "objectives",
    "targets",
    "fewer",
    "metrics",
    "why",
    "notes",
]
POOL = [
    "role",
    "chip",
    "engine",
    "parallel",
    "max_num_seqs",
    "max_num_batched_tokens",
    "replicas",
    "needed_replicas",
]


@pytest.fixture(scope="module")
def read():
    return json.loads(dumps(plans_by_hand.plan()))


def test_fields_are_those_of_the_contract(read):
    assert read["schema"] == SCHEMA == "tokenroof-plan/1"
    assert list(read) == TOP
    assert list(read["front"][0]) == CHOICE
    assert list(read["front"][0]["pools"][0]) == POOL
    assert list(read["front"][0]["targets"][0]) == ["name", "limit_s", "value_s", "low_s", "high_s", "met"]
    assert list(read["rejected"][0]) == ["stage", "family", "reason", "count", "problem", "example"]


def test_no_number_is_rounded(read):
    best = plans_by_hand.plan().front[0]
    shown = read["front"][0]
    assert shown["objectives"] == dict(best.objectives)
    assert shown["targets"][0]["value_s"] == best.checks[0].value
    assert shown["metrics"]["usd_per_mtok_output"]["high"] == best.metrics["usd_per_mtok_output"].high
    assert read["bounds"][0]["compute_chips"] == 11.4
    assert isinstance(shown["chips"], int)


def test_every_number_has_a_unit(read):
    for choice in (*read["front"], *read["others"]):
        assert set(choice["objectives"]) <= set(read["objectives"])
        for name, metric in choice["metrics"].items():
            assert metric["unit"] == read["definitions"][name]["unit"]


def test_counts_add_up(read):
    taken = len(read["front"]) + len(read["others"])
    assert sum(row["count"] for row in read["rejected"]) + taken == read["candidates"]


def test_what_is_not_known_is_null(read):
    assert read["others"][1]["usd_per_hour"] is None
    assert read["others"][1]["objectives"]["usd_per_million_tokens"] is None


def test_infeasible_has_its_reason_and_no_choice():
    read = json.loads(dumps(plans_by_hand.impossible()))
    assert (read["feasible"], read["front"], read["others"]) == (False, [], [])
    assert read["infeasible"]["need"] == 0.0493
    assert "Nearest ask" in read["infeasible"]["reason"]


def test_further_answers_are_carried():
    assert document(plans_by_hand.plan(), answers={"ratio": {"best": 2}})["answers"] == {"ratio": {"best": 2}}


def test_the_same_plan_is_the_same_text():
    assert dumps(plans_by_hand.plan()) == dumps(plans_by_hand.plan())
