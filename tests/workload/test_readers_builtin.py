"""Traces of the package: what their sources say of them; and parts of a trace."""

from importlib import resources

import numpy as np
import pytest

from tokenroof.errors import InputError, UnknownNameError
from tokenroof.workload.arrivals import Poisson
from tokenroof.workload.core import RequestClass, Slo
from tokenroof.workload.readers import Trace, builtin_traces, read_trace
from tokenroof.workload.readers.builtin import BUILTIN


def builtin(name: str) -> Trace:
    trace = read_trace(name)
    assert isinstance(trace, Trace)
    return trace


def test_an_hour_of_azure_chat() -> None:
    """As the original; Splitwise (ISCA 2024) reports medians of 1,020 and 129."""
    trace = builtin("azure-2023-conv")
    requests = trace.requests(0)
    assert len(trace) == 19_366
    assert (requests.isl_tokens.sum(), requests.osl_tokens.sum()) == (22_361_870, 4_088_665)
    assert requests.isl_tokens.mean() == pytest.approx(1154.7, abs=0.05)
    assert requests.osl_tokens.mean() == pytest.approx(211.1, abs=0.05)
    assert (np.median(requests.isl_tokens), np.median(requests.osl_tokens)) == (1020.0, 129.0)
    assert (requests.isl_tokens.max(), requests.osl_tokens.max()) == (14_050, 1_000)
    assert trace.duration_s == pytest.approx(3501.721937, abs=1e-9)
    assert requests.arrival_s[[0, 1]].tolist() == [0.0, 4.314579]
    assert "CC-BY 4.0" in trace.source
    assert trace.label == "azure-2023-conv"


def test_a_sample_of_mooncake() -> None:
    trace = builtin("mooncake-conversation-sample")
    requests = trace.requests(0)
    assert (len(trace), trace.format) == (500, "mooncake")
    assert requests.prefixes is not None
    assert requests.prefixes.block_tokens == 512
    assert np.diff(requests.prefixes.start).tolist() == np.ceil(requests.isl_tokens / 512).tolist()
    assert requests.prefixes.ids.max() + 1 == np.unique(requests.prefixes.ids).size
    assert "Apache-2.0" in trace.source


def test_every_trace_of_the_package_is_documented() -> None:
    data = resources.files("tokenroof.workload") / "data"
    readme = (data / "README.md").read_text(encoding="utf-8")
    assert sorted(builtin_traces()) == sorted(BUILTIN)
    for trace in BUILTIN.values():
        assert f"`{trace.file}`" in readme
        assert trace.path.stat().st_size < 250_000


def test_a_part_of_the_hour_keeps_its_measurements_in_step() -> None:
    trace = builtin("azure-2023-conv")
    part = trace.between(600.0, 660.0)
    times = trace.table.arrival_s
    expected = times[(times >= 600.0) & (times < 660.0)] - 600.0
    np.testing.assert_array_equal(part.requests(0).arrival_s, expected)
    assert len(trace.first(100)) == 100
    assert len(trace.first(10**9)) == len(trace)
    with pytest.raises(
        InputError, match=r"nothing was sent in 4000 s \.\. 5000 s\. The last request is at 3501\.72 s"
    ):
        trace.between(4000.0, 5000.0)
    with pytest.raises(InputError, match="at least 1 request"):
        trace.first(0)


def test_a_prefix_of_mooncake_keeps_its_blocks() -> None:
    part = builtin("mooncake-conversation-sample").first(3).table
    assert part.prefixes is not None
    assert part.prefixes.start[-1] == part.prefixes.ids.size == sum(-(-part.isl_tokens // 512))
    assert part.prefixes.ids.max() + 1 == np.unique(part.prefixes.ids).size


def test_a_trace_sent_by_a_process_keeps_its_lengths_and_follows_the_seed() -> None:
    trace = builtin("azure-2023-conv").first(500).sent_by(Poisson(rate_per_s=2.0))
    one, again, other = trace.requests(1), trace.requests(1), trace.requests(2)
    assert one.arrival_s.tobytes() == again.arrival_s.tobytes()
    assert one.arrival_s.tobytes() != other.arrival_s.tobytes()
    np.testing.assert_array_equal(one.isl_tokens, other.isl_tokens)
    with pytest.raises(InputError, match="recorded sending times are not in use"):
        trace.between(0.0, 1.0)


def test_classes_of_a_trace_get_their_limits_by_name() -> None:
    trace = builtin("azure-2023-conv").first(5)
    strict = trace.with_classes([RequestClass(name="all", priority=2, slo=Slo(ttft_s=0.5))])
    assert strict.requests(0).classes[0].slo.ttft_s == 0.5
    with pytest.raises(UnknownNameError, match=r"unknown request class 'chat'\. Known: all\."):
        trace.with_classes([RequestClass(name="chat")])
