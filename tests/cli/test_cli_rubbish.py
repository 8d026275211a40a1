"""Whatever is typed, the command ends with 0 or 2 and at most one line of error."""

import contextlib
import io

from hypothesis import given, settings
from hypothesis import strategies as st

from tokenroof.cli import main

OPTIONS = (
    "--model",
    "--chip",
    "--tp",
    "--pp",
    "--ep",
    "--dp",
    "--cp",
    "--replicas",
    "--isl",
    "--osl",
    "--image-tokens",
    "--batch",
    "--concurrency",
    "--weights",
    "--kv",
    "--engine",
    "--price",
    "--capex-usd",
    "--region",
    "--pue",
    "--utilisation",
    "--prefill-chip",
    "--prefill-tp",
    "--catalog",
    "--chart-kind",
)
WORDS = ("chips", "links", "models", "prices", "list", "show", "import")
VALUES = st.one_of(
    st.sampled_from(
        ["h100", "h1OO", "llama-3.1-8b", "fp8", "nvfp4", "vllm", "us", "tco", "1", "2", "7", "64", "1e3"]
    ),
    st.integers(-(10**20), 10**20).map(str),
    st.floats().map(str),
    st.text(max_size=30),
)


def run(arguments):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    return code, out.getvalue(), err.getvalue()


@settings(max_examples=30)
@given(given=st.lists(st.tuples(st.sampled_from(OPTIONS), VALUES), max_size=4))
def test_rubbish_for_options(given):
    flat = [part for option, value in given for part in (option, value)]
    code, out, err = run(["estimate", "--model", "llama-3.1-8b", "--chip", "h100", *flat])
    assert code in (0, 2)
    if err:
        assert (code, out) == (2, "")
        assert err.startswith("tokenroof: ")
        assert err.count("\n") == 1


@settings(max_examples=30)
@given(words=st.lists(st.one_of(st.sampled_from(WORDS), VALUES), max_size=4))
def test_rubbish_for_commands(words):
    code, _, err = run(words)
    assert code in (0, 2)
    assert err.count("\n") <= 1
