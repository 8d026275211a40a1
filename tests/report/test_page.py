"""The report page: everything inside, nothing from outside, well formed."""

import re
from html.parser import HTMLParser

import by_hand
import pytest

from tokenroof.report.html import page

VOID = {"meta", "br", "link", "img"}


class Balance(HTMLParser):
    """Counts what is opened and not closed."""

    def __init__(self):
        super().__init__()
        self.open, self.faults = [], []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)


@pytest.fixture(scope="module")
def text():
    swept = [by_hand.estimate(concurrency=2**i) for i in range(4)]
    return page(by_hand.several(), sweep=swept)


def test_tags_are_balanced(text):
    checker = Balance()
    checker.feed(text)
    assert (checker.open, checker.faults) == ([], [])


def test_nothing_is_loaded_and_nothing_runs(text):
    assert "<script" not in text
    assert "@import" not in text
    assert re.findall(r'(?:src|href)="(?!#)[^"]*"', text) == []
    assert "url(http" not in text


def test_every_part_is_there(text):
    parts = ("In a sentence", "Side by side", "Roofline", "Where the time goes", "Where the memory goes")
    more = (
        "Throughput against interactivity",
        "Chip by chip",
        "What the figures mean",
        "Assumptions",
        "Sources",
    )
    headings = re.findall(r"<h2>(.*?)</h2>", text)
    assert headings == [*parts, *more]


def test_the_infeasible_chip_says_why(text):
    assert "does not fit: weights 141.1 GB" in text


def test_identifiers_are_unique_over_all_pictures(text):
    found = re.findall(r'\bid="([^"]+)"', text)
    assert len(found) == len(set(found))


def test_dark_and_print_are_styled(text):
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_text_from_outside_is_escaped():
    from dataclasses import replace

    shown = page([replace(by_hand.estimate(), label="<b>x</b>", assumptions=("<script>alert(1)</script>",))])
    assert "<script" not in shown
    assert "<b>x</b>" not in shown


def test_a_page_without_anything_feasible_still_says_why():
    assert "does not fit" in page([by_hand.estimate(fits=False)])
