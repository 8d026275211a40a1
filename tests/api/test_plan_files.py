"""What a choice of a plan is launched with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tokenroof.api.lookup import load_catalog
from tokenroof.api.plan_files import files_of_choice, index, settings_of, write_files
from tokenroof.api.plan_question import question_of_plan
from tokenroof.api.planfile import plan_of
from tokenroof.deploy.core import Role
from tokenroof.deploy.simulated.drafting.core import Drafting
from tokenroof.deploy.simulated.drafting.eagle import Eagle
from tokenroof.deploy.simulated.drafting.known import KnownDraft
from tokenroof.deploy.simulated.drafting.model import DraftModel
from tokenroof.deploy.simulated.drafting.mtp import Mtp
from tokenroof.deploy.simulated.drafting.ngram import NGram
from tokenroof.deploy.simulated.offload import Host, Ssd
from tokenroof.graph.core import Parallel
from tokenroof.report import launch
from tokenroof.search.asked import Load, Question
from tokenroof.search.build import Builder
from tokenroof.search.core import Candidate, Choice, PoolPlan

CATALOG = load_catalog()
LOAD = Load(
    requests_per_s=5.0,
    isl_tokens=1000.0,
    osl_tokens=100.0,
    longest_tokens=1100,
    shared_fraction=0.0,
    num_requests=20,
)
SMALL = CATALOG.model("llama-3.2-1b")
DRAFTS: list[tuple[Drafting, object]] = [
    (Mtp(draft_tokens=2, acceptance_fraction=0.8), launch.Mtp(draft_tokens=2)),
    (NGram(draft_tokens=3, acceptance_fraction=0.4), launch.Ngram(draft_tokens=3)),
    (
        Eagle(draft_tokens=3, acceptance_fraction=0.7),
        launch.Eagle(draft_tokens=3, model="REPLACE/Llama-3.1-8B-EAGLE3"),
    ),
    (
        DraftModel(model=SMALL, precision=SMALL.precision, draft_tokens=4, acceptance_fraction=0.7),
        launch.DraftModel(draft_tokens=4, model=SMALL.hf_id),
    ),
]


def asked() -> Question:
    traffic = {"rate": 5, "num_requests": 20, "isl": 1000, "osl": 100}
    return question_of_plan(
        plan_of({"model": "llama-3.1-8b", "chips": ["h100", "h200"], "traffic": traffic}), CATALOG
    )


def choice(*chips: str, replicas: tuple[int, ...] = (2,), **given: Any) -> Choice:
    """A choice of one pool, or of a prefill and a decode pool."""
    roles = (Role.BOTH,) if len(chips) == 1 else (Role.PREFILL, Role.DECODE)
    question = asked()
    pools = tuple(
        PoolPlan(
            role=role,
            chip=chip,
            engine="vllm",
            parallel=Parallel(tp=1),
            max_num_seqs=256,
            max_num_batched_tokens=8192,
        )
        for role, chip in zip(roles, chips, strict=True)
    )
    candidate = Candidate(precision=question.model.precision, pools=pools, **given)
    deployment, serving = Builder(question).build(candidate, replicas)
    return Choice(
        candidate=candidate,
        deployment=deployment,
        serving=serving,
        replicas=replicas,
        needed=replicas,
        chips=sum(replicas),
        nodes=1,
        racks=1,
        facility_w=None,
        usd_per_hour=None,
        objectives={},
        metrics={},
        checks=(),
        fewer=(),
        bound_chips=1,
        why=(),
    )


def named(files: tuple[launch.LaunchFile, ...]) -> dict[str, launch.LaunchFile]:
    return {each.name: each for each in files}


def test_limits_of_the_choice_and_the_longest_request_are_flags() -> None:
    found = named(files_of_choice(choice("h100"), asked(), LOAD))
    assert found["launch.sh"].text.count("vllm serve") == 2
    for flag in ("--max-num-seqs 256", "--max-num-batched-tokens 8192", "--max-model-len 2048"):
        assert flag in found["launch.sh"].text
    assert len(found["requests.jsonl"].text.splitlines()) == 20
    documents = [each for each in yaml.safe_load_all(found["kubernetes.yaml"].text) if each]
    counts = [each["spec"]["replicas"] for each in documents if "replicas" in each.get("spec", {})]
    assert 2 in counts


def test_the_longest_sequence_is_rounded_up_and_no_longer_than_the_model_takes() -> None:
    question = asked()
    longest = question.model.max_context_tokens
    assert settings_of(choice("h100"), question, LOAD).max_context_tokens == 2048
    near = Load(**{**{name: getattr(LOAD, name) for name in LOAD.__slots__}, "longest_tokens": longest - 1})
    assert settings_of(choice("h100"), question, near).max_context_tokens == longest


@pytest.mark.parametrize(("drafting", "flag"), DRAFTS, ids=lambda each: type(each).__name__)
def test_drafts_become_those_of_the_engine(drafting: Drafting, flag: object) -> None:
    found = settings_of(choice("h100", drafting=drafting), asked(), LOAD)
    assert [pool.speculation for pool in found.pools] == [flag]


def test_only_the_decode_pool_drafts_and_only_the_prefill_pool_offloads() -> None:
    given = choice(
        "h100",
        "h200",
        replicas=(2, 1),
        drafting=NGram(draft_tokens=3, acceptance_fraction=0.4),
        offload=(Host(size_bytes=64e9), Ssd(size_bytes=1e12)),
        prefix_caching=True,
    )
    prefill, decode = settings_of(given, asked(), LOAD).pools
    assert (prefill.speculation, prefill.offload_bytes, prefill.prefix_caching) == (None, 64e9, True)
    assert (decode.offload_bytes, decode.prefix_caching) == (None, False)
    assert decode.speculation == launch.Ngram(draft_tokens=3)
    files = files_of_choice(given, asked(), LOAD)
    text = index(given, files)
    assert "3 chips: 2 + 1 x prefill h100 TP1 + decode h200 TP1" in text
    assert "Ssd as well: set that up by hand" in text


def test_what_no_engine_can_do_is_not_written_and_says_so(tmp_path: Path) -> None:
    known = KnownDraft(draft_tokens=2, acceptance_fraction=0.8, draft_step_s=1e-3)
    given = choice("h100", drafting=known)
    files = files_of_choice(given, asked(), LOAD)
    assert not any(each.written for each in files)
    write_files(tmp_path / "deploy", given, files)
    assert [path.name for path in (tmp_path / "deploy").iterdir()] == ["README.md"]
    assert "no engine has a flag for it" in (tmp_path / "deploy" / "README.md").read_text()


def test_files_are_written_scripts_can_be_run(tmp_path: Path) -> None:
    given = choice("h100")
    files = files_of_choice(given, asked(), LOAD)
    write_files(tmp_path, given, files)
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {each.name for each in files if each.written} | {"README.md"}
    assert all(path.stat().st_mode & 0o100 for path in tmp_path.glob("*.sh"))
    row = json.loads((tmp_path / "requests.jsonl").read_text().splitlines()[0])
    assert (row["input_length"], row["output_length"]) == (1000, 100)
    text = (tmp_path / "README.md").read_text()
    assert all(f"`{name}`" in text for name in written - {"README.md"})
