import json

import pytest

from biggan_jax.runtime import jsonl
from biggan_jax.runtime.jsonl import JsonLines


@pytest.fixture(params=["appended", "in parts"])
def lines_of(request, tmp_path):
    """(start, attempt) to the JsonLines of one folder, on a disk or as in an object store."""

    def make(start, attempt=0):
        lines = JsonLines(tmp_path, "looks", start, attempt)
        lines._appends = request.param == "appended"
        lines.LINES_A_PART = 2
        return lines

    return make


def run(lines, start, stop):
    for step in range(start + 1, stop + 1):
        lines.write({"step": step})


def test_what_a_run_that_died_wrote_past_its_checkpoint_is_written_once(lines_of, tmp_path):
    run(lines_of(0), 0, 5)
    run(lines_of(3), 3, 6)
    assert [record["step"] for record in jsonl.read(tmp_path, "looks")] == [1, 2, 3, 4, 5, 6]


def test_an_attempt_drops_nothing_of_another(lines_of, tmp_path):
    run(lines_of(0), 0, 4)
    run(lines_of(2, 1), 2, 5)
    run(lines_of(4, 1), 4, 6)
    found = [(record.get("attempt", 0), record["step"]) for record in jsonl.read(tmp_path, "looks")]
    assert found == [(0, 1), (0, 2), (0, 3), (0, 4), (1, 3), (1, 4), (1, 5), (1, 6)]


def test_the_lineage_leaves_out_what_was_gone_back_on():
    records = [{"step": s} for s in (1, 2, 3, 4)] + [{"step": s, "attempt": 1} for s in (3, 4, 5)]
    records += [{"step": s, "attempt": 2} for s in (2, 3)]
    assert jsonl.lineage(records) == [{"step": 1}, {"step": 2, "attempt": 2}, {"step": 3, "attempt": 2}]
    assert jsonl.lineage(records, stop=2) == [{"step": 1}, {"step": 2, "attempt": 2}]


def test_half_lines_and_other_names_are_no_records(tmp_path):
    (tmp_path / "looks.jsonl").write_text(json.dumps({"step": 1}) + '\n{"ste\n[1]\n{"step": "x"}\n')
    (tmp_path / "looksee.jsonl").write_text(json.dumps({"step": 7}) + "\n")
    assert jsonl.read(tmp_path, "looks") == [{"step": 1}]
