import json

import pytest

from biggan_jax.runtime import jsonl
from biggan_jax.runtime.jsonl import JsonLines


@pytest.fixture(params=["appended", "in parts"])
def lines_from(request, tmp_path):
    """A function (start, attempt) -> JsonLines of one folder, on a disk or as in an object store."""

    def make(start, attempt=0):
        lines = JsonLines(tmp_path, "probes", start, attempt)
        lines._appends = request.param == "appended"
        lines.LINES_PER_PART = 2
        return lines

    return make


def run(lines, start, stop):
    for step in range(start + 1, stop + 1):
        lines.write({"step": step})


def test_records_past_the_checkpoint_of_a_dead_run_are_replaced(lines_from, tmp_path):
    run(lines_from(0), 0, 5)
    run(lines_from(3), 3, 6)
    assert [record["step"] for record in jsonl.read(tmp_path, "probes")] == [1, 2, 3, 4, 5, 6]


def test_attempt_keeps_the_records_of_other_attempts(lines_from, tmp_path):
    run(lines_from(0), 0, 4)
    run(lines_from(2, 1), 2, 5)
    run(lines_from(4, 1), 4, 6)
    found = [(record.get("attempt", 0), record["step"]) for record in jsonl.read(tmp_path, "probes")]
    assert found == [(0, 1), (0, 2), (0, 3), (0, 4), (1, 3), (1, 4), (1, 5), (1, 6)]


def test_current_lineage_drops_rolled_back_records():
    records = [{"step": s} for s in (1, 2, 3, 4)] + [{"step": s, "attempt": 1} for s in (3, 4, 5)]
    records += [{"step": s, "attempt": 2} for s in (2, 3)]
    assert jsonl.current_lineage(records) == [{"step": 1}, {"step": 2, "attempt": 2}, {"step": 3, "attempt": 2}]
    assert jsonl.current_lineage(records, stop=2) == [{"step": 1}, {"step": 2, "attempt": 2}]


def test_truncated_lines_and_other_names_are_skipped(tmp_path):
    (tmp_path / "probes.jsonl").write_text(json.dumps({"step": 1}) + '\n{"ste\n[1]\n{"step": "x"}\n')
    (tmp_path / "probes2.jsonl").write_text(json.dumps({"step": 7}) + "\n")
    assert jsonl.read(tmp_path, "probes") == [{"step": 1}]
