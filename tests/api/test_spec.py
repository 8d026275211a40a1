"""Specs: what is written becomes what was meant, and everything wrong is one line with its place."""

import math

import pytest

from tokenroof.api.spec.draws import delays_of, lengths_of
from tokenroof.api.spec.reading import merged, read_spec, spec_of
from tokenroof.errors import InputError

BASE = {"model": "llama-3.1-8b", "chip": "h100", "traffic": {"rate": 4}}


def made(**sections):
    return spec_of(merged(BASE, sections))


def refused(**sections):
    with pytest.raises(InputError) as caught:
        made(**sections)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_names_alone_stand_for_sections():
    spec = made()
    assert spec.model.name == "llama-3.1-8b"
    assert [pool.chip for pool in spec.chip] == ["h100"]
    assert spec.engine.name == "vllm"
    assert spec.traffic.rate == (4.0,)


@pytest.mark.parametrize(
    ("given", "seconds"), [("40 ms", 0.04), ("2 s", 2.0), (2, 2.0), (0.5, 0.5), ("1.5 min", 90.0)]
)
def test_times_are_seconds_or_have_a_unit(given, seconds):
    assert made(slo={"ttft": given}).slo.ttft == pytest.approx(seconds)


def test_capacities_and_bandwidths_have_units():
    tier = made(cache={"offload": [{"tier": "host", "capacity": "256 GB", "bandwidth": "50 GB/s"}]}).cache
    assert (tier.offload[0].capacity, tier.offload[0].bandwidth) == (256e9, 50e9)


@pytest.mark.parametrize(
    ("given", "mean"),
    [
        (1000, 1000),
        ("1000", 1000),
        ([100, 300], 200),
        ({"kind": "uniform", "low": 10, "high": 30}, 20),
        ("uniform:low=10,high=30", 20),
        ("range:tokens=1000,ratio=0.8", 900),
        ("around:tokens=1000,ratio=0.2", 1000),
        ("lognormal:mean=1000,sigma=0.8", 1000),
        ({"kind": "empirical", "values": [1, 3], "weights": [3, 1]}, 1.5),
    ],
)
def test_lengths_are_numbers_or_distributions(given, mean):
    spec = made(traffic={"isl": given})
    assert lengths_of(spec.traffic.isl).mean_tokens == pytest.approx(mean)


def test_a_distribution_object_stays_itself():
    own = lengths_of({"kind": "fixed", "tokens": 7})
    assert lengths_of(made(traffic={"isl": own}).traffic.isl) is own


@pytest.mark.parametrize(("given", "mean_s"), [("2 s", 2.0), (0, 0.0), ("exponential:mean=3", 3.0)])
def test_thinking_is_a_time_or_a_distribution(given, mean_s):
    spec = spec_of({**BASE, "traffic": {"concurrency": 4, "think": given}})
    assert delays_of(spec.traffic.think).mean_s == mean_s


@pytest.mark.parametrize(
    ("sections", "text"),
    [
        ({"traffic": {"rat": 4}}, "traffic.rat: unknown. Nearest: rate"),
        ({"nonsense": 1}, "nonsense: unknown. "),
        ({"slo": {"tpott": 3}}, "slo.tpott: unknown. Nearest: tpot"),
        ({"fleet": {"failures": {"att": 3}}}, "fleet.failures.0.att: unknown. Nearest: at"),
        (
            {"cache": {"offload": [{"tier": "host", "capacty": 1}]}},
            "cache.offload.0.capacty: unknown. Nearest: capacity",
        ),
        ({"chip": {"chip": "h100", "replica": 2}}, "chip.0.replica: unknown. Nearest: replicas"),
        (
            {"chip": {"chip": "h100", "replicas": 0}},
            "chip.0.replicas: must be a whole number of at least 1, got 0",
        ),
        ({"traffic": {"rate": -1}}, "traffic.rate: must be above 0, got -1"),
        ({"traffic": {"rate": "4 s"}}, "traffic.rate: expected 1/s, got '4 s'"),
        ({"traffic": {"rate": []}}, "traffic.rate: must not be an empty list"),
        ({"traffic": {"isl": 0}}, "traffic.isl: must be a whole number of at least 1, got 0"),
        (
            {"traffic": {"isl": "lognorm:mean=3"}},
            "traffic.isl: unknown kind of lengths 'lognorm'. Nearest: lognormal",
        ),
        ({"traffic": {"isl": "lognormal:mean=3"}}, "traffic.isl: lognormal needs sigma"),
        (
            {"traffic": {"isl": {"kind": "uniform", "low": 9, "high": 3}}},
            "traffic.isl: Uniform: high_tokens must",
        ),
        ({"traffic": {"isl": "many"}}, "traffic.isl: expected a number or a distribution, got 'many'"),
        ({"traffic": {"num_requests": 2.5}}, "traffic.num_requests: must be a whole number"),
        ({"traffic": {"num_requests": True}}, "traffic.num_requests: must be a whole number"),
        ({"traffic": {"burstiness": 0}}, "traffic.burstiness: must be above 0, or inf"),
        ({"traffic": {"speed": 2}}, "traffic: trace_format and speed need a trace"),
        ({"traffic": {"num_requests": 5, "duration": 5}}, "traffic: give num_requests or duration, not both"),
        ({"slo": {"ttft": 0}}, "slo.ttft: must be above 0, got 0"),
        ({"slo": {"ttft": "40"}}, "slo.ttft: expected s, got '40'"),
        ({"slo": {"ttft": math.nan}}, "slo.ttft: must be above 0"),
        ({"fleet": {"router": "rr"}}, "fleet.router: unknown 'rr'. Known: round-robin, least-loaded"),
        (
            {"speculation": {"method": "draft", "draft_tokens": 3, "acceptance": 0.7}},
            "speculation: method draft needs draft_model",
        ),
        (
            {"speculation": {"method": "mtp", "draft_tokens": 3, "acceptance": 7}},
            "speculation.acceptance: must be at least 0 and at most 1",
        ),
        ({"model": None}, "model: must be a section, got 'None'"),
        ({"output": 3}, "output: must be a section, got '3'. It has: "),
        ({"seed": -1}, "seed: must be a whole number of at least 0, got -1"),
        ({"pools": [{"chip": "h100", "role": "prefill"}]}, "pools must be one prefill and one decode pool"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(sections, text):
    assert refused(**sections).startswith(text)


def test_missing_sections_are_named():
    with pytest.raises(InputError, match=r"^model: missing"):
        spec_of({"chip": "h100", "traffic": {"rate": 4}})
    with pytest.raises(InputError, match=r"^traffic: no load. Give rate, concurrency or trace"):
        spec_of({**BASE, "traffic": {}})
    with pytest.raises(InputError, match=r"^give chip, or pools"):
        spec_of({"model": "llama-3.1-8b", "traffic": {"rate": 4}})


def test_both_loads_are_refused_but_one_replaces_the_other_when_laid_over():
    with pytest.raises(InputError, match="give rate or concurrency, not both"):
        spec_of({**BASE, "traffic": {"rate": 4, "concurrency": 8}})
    spec = made(traffic={"concurrency": 8})
    assert (spec.traffic.concurrency, spec.traffic.rate) == (8, None)


def test_laying_over_keeps_the_rest():
    base = {**BASE, "model": {"name": "llama-3.1-8b", "kv": "fp8"}, "traffic": {"rate": 4, "isl": 500}}
    spec = spec_of(merged(base, {"traffic": {"rate": 8}, "model": {"weights": "fp8"}, "seed": 3}))
    assert (spec.traffic.rate, lengths_of(spec.traffic.isl).mean_tokens) == ((8.0,), 500)
    assert (spec.model.kv, spec.model.weights, spec.seed) == ("fp8", "fp8", 3)


def test_pools_are_laid_over_by_a_chip():
    base = {**BASE, "pools": [{"chip": "h100", "role": "decode"}, {"chip": "b200", "role": "prefill"}]}
    del base["chip"]
    assert [pool.role for pool in spec_of(base).layouts[0]] == ["prefill", "decode"]
    assert [pool.chip for pool in spec_of(merged(base, {"chip": "a100"})).layouts[0]] == ["a100"]


YAML = "model: llama-3.1-8b\nchip: {chip: h100, tp: 1}\ntraffic: {rate: 4, isl: 500}\nslo: {tpot: 40 ms}\n"
TOML = (
    'model = "llama-3.1-8b"\n[chip]\nchip = "h100"\ntp = 1\n'
    '[traffic]\nrate = 4\nisl = 500\n[slo]\ntpot = "40 ms"\n'
)


def test_yaml_and_toml_say_the_same(tmp_path):
    (tmp_path / "a.yaml").write_text(YAML, encoding="utf-8")
    (tmp_path / "a.toml").write_text(TOML, encoding="utf-8")
    yaml, toml = (spec_of(read_spec(tmp_path / name)) for name in ("a.yaml", "a.toml"))
    assert yaml == toml


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.txt", "x", "unknown kind of spec"),
        ("a.toml", "model = ", "not valid TOML"),
        ("a.yaml", "model: [", "not valid YAML"),
        ("a.yaml", "- 1\n", "expected 'field: value' lines"),
        ("a.yaml", "seed: 1\nseed: 2\n", "'seed' appears twice"),
        ("a.yaml", " ", "empty"),
    ],
)
def test_a_file_that_is_no_spec_is_one_line(tmp_path, name, text, said):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=said) as caught:
        read_spec(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_spec(tmp_path / "none.yaml")


def test_the_file_is_named_in_what_is_wrong_with_it():
    with pytest.raises(InputError, match=r"^run.yaml: traffic.rat: unknown"):
        spec_of({**BASE, "traffic": {"rat": 4}}, where="run.yaml")
