"""Chips that do not exist: their figures have to tell the story they were drawn for."""

import pytest

import tokenroof as tr


@pytest.mark.parametrize("seqs", [1, 16])
def test_a_decode_chip_near_memory_decodes_faster_than_the_chip_it_extends(seqs):
    """Nine times H200's bandwidth: with few sequences a step is several times shorter, never longer."""
    sketch, parent = tr.estimate(
        "llama-3.1-405b", ["decode-pnm", "h200"], tp=8, weights="fp8", isl=1000, osl=100, concurrency=seqs
    )
    ratio = sketch.phases["decode"].time_s / parent.phases["decode"].time_s
    assert 0.2 < ratio < 0.8


def test_products_near_memory_are_not_cut_into_the_tiles_of_a_gpu():
    chip = tr.load_catalog().chip("decode-pnm")
    assert chip.compute_units == 1
    assert any("assumption" in note for note in chip.notes)


def test_what_is_left_out_near_memory_is_said():
    near, far = tr.estimate("llama-3.1-8b", ["decode-pnm", "h200"], isl=100, osl=10, concurrency=1)
    said = "pnm: bandwidth inside the memory serves every operand placed there"
    assert any(said in text for text in near.assumptions)
    assert not any("inside the memory" in text for text in far.assumptions)
