"""docs/operations.md: that it is what the generator makes, and that every operation has what the page promises."""

import importlib.util
from pathlib import Path

import pytest
from cells import TESTED

from evolute import ops

ROWS = [row for row in ops.table() if row["group"] != "derivative kernel"]


@pytest.fixture(scope="module")
def generator():
    path = Path(__file__).resolve().parents[1] / ".ci" / "make_operations.py"
    spec = importlib.util.spec_from_file_location("make_operations", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(generator):
    assert generator.DOC.read_text(encoding="utf-8") == generator.document()


def test_every_yes_is_a_rule_and_a_test(generator):
    for row in ROWS:
        for (column, has), cell in zip(generator.RULES.items(), generator.cells(row), strict=True):
            if cell == "yes":
                assert has(row)
                assert row["name"] in TESTED[column]
            elif cell == "0":
                assert not row["reverse"]
                assert not row["forward"]


@pytest.mark.parametrize("column", ["reverse", "forward", "second order", "jet", "vmap", "CPU", "CUDA"])
def test_nothing_is_missing(generator, column):
    place = list(generator.RULES).index(column)
    assert [row["name"] for row in ROWS if generator.cells(row)[place] == "–"] == []


def test_tested_names_are_operations():
    names = {row["name"] for row in ROWS}
    for column, tested in TESTED.items():
        assert tested <= names, column
