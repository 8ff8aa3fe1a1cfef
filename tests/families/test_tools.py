"""Every tool on every family: `make test-families`. UPDATE=1 writes the table in docs/families.md instead."""

import os

import pytest

from biggan_jax.models import FAMILIES
from tests.conftest import ROOT
from tests.families import table

PAGE = ROOT / "docs" / "families.md"
START, END = "<!-- tools -->\n", "<!-- end -->\n"


@pytest.mark.families
def test_the_table_of_tools_is_what_they_do():
    rows = {family: table.row(family) for family in table.SMALL if family in FAMILIES}
    assert rows.keys() == FAMILIES.keys()
    failed = [(family, tool, cell) for family, row in rows.items() for tool, cell in row.items() if "FAILED" in cell]
    assert not failed
    head, _, rest = PAGE.read_text().partition(START)
    if os.environ.get("UPDATE"):
        PAGE.write_text(head + START + "\n" + table.table(rows) + "\n" + END + rest.partition(END)[2])
    else:
        assert rest.partition(END)[0].strip() == table.table(rows).strip()
