"""Every tool on every family: `make test-families`. UPDATE=1 writes the columns in docs/families.md; -k NAME chooses families."""

import os

import pytest

from biggan_jax.models import FAMILIES
from tests.conftest import ROOT
from tests.families import table

PAGE = ROOT / "docs" / "families.md"
START, END = "<!-- tools -->\n", "<!-- end -->\n"


def written():
    """What stands before the table, the table, and what stands behind it."""
    head, _, rest = PAGE.read_text().partition(START)
    own, _, tail = rest.partition(END)
    return head, own, tail


def test_the_table_has_every_family():
    assert table.SMALL.keys() == FAMILIES.keys()
    _, own, _ = written()
    rows = table.parse(own)
    assert list(rows) == list(table.SMALL) and all(list(row) == list(table.TOOLS) for row in rows.values())
    assert table.table(rows).strip() == own.strip(), "a column can be replaced without a change of others"


@pytest.mark.families
@pytest.mark.parametrize("family", table.SMALL)
def test_the_column_of_tools_is_what_they_do(family):
    row = table.row(family)
    assert not [(tool, cell) for tool, cell in row.items() if "FAILED" in cell]
    head, own, tail = written()
    rows = table.parse(own)
    if os.environ.get("UPDATE"):
        rows[family] = row
        rows = {name: rows[name] for name in table.SMALL if name in rows}
        PAGE.write_text(head + START + "\n" + table.table(rows) + "\n" + END + tail)
    else:
        assert rows[family] == row
