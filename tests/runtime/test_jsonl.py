import json
import logging

import pytest
from etils import epath
from hypothesis import given
from hypothesis import strategies as st

from biggan_jax.evaluation import results
from biggan_jax.runtime import jsonl
from biggan_jax.runtime.jsonl import JsonLines
from biggan_jax.stability import recovery
from biggan_jax.stability.history import is_probe
from biggan_jax.tools.notebook import is_metrics
from tests.properties import damaged


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


def test_a_damaged_line_is_set_aside_and_named(lines_from, tmp_path, caplog):
    lines = lines_from(0)
    run(lines, 0, 2)
    (file,) = tmp_path.glob("probes*.jsonl")
    first, second = file.read_bytes().splitlines()
    bad = [b'{"step": 1, \xff}', b'{"step": -4}', b'{"step": 3, "attempt": "x"}', b'{"step": true}', b"[" * 100_000]
    file.write_bytes(b"\n".join([first, *bad, second]) + b"\n")
    with caplog.at_level(logging.WARNING):
        assert [record["step"] for record in jsonl.read(tmp_path, "probes")] == [1, 2]
        run(lines_from(2), 2, 3)
    assert [record["step"] for record in jsonl.read(tmp_path, "probes")] == [1, 2, 3]
    assert (tmp_path / f"{file.name}.damaged").read_bytes() == b"\n".join(bad) + b"\n"
    left_out, aside = caplog.messages
    assert left_out == f"{file}: lines 2, 3, 4, 5, 6 are no records, and are left out"
    assert aside == f"{file}: lines 2, 3, 4, 5, 6 are no records, and are set aside in {file.name}.damaged"


def test_a_line_cut_off_by_a_crash_is_no_damage(tmp_path, caplog):
    (tmp_path / "probes.jsonl").write_bytes(b'{"step": 1}\n{"step": 2, "sig')
    lines = JsonLines(tmp_path, "probes", 1)
    lines.write({"step": 2})
    assert [record["step"] for record in jsonl.read(tmp_path, "probes")] == [1, 2]
    assert not caplog.messages and not (tmp_path / "probes.jsonl.damaged").exists()


EVENT = {"step": 5, "onset": 3, "signal": "d_gap", "sentence": "s", "action": "stop", "checkpoint": 2, "best": None}
EVENT |= {"attempt": 0, "value": 1.0, "threshold": 2.0}


def test_a_damaged_event_neither_stops_a_run_nor_is_lost(tmp_path, caplog):
    for change in ({"action": "explode"}, {"onset": None}, {"checkpoint": "2"}, {"attempt": 1.5}, {"sentence": 3}):
        (tmp_path / recovery.FILE).write_text(json.dumps(EVENT | change) + "\n" + json.dumps(EVENT) + "\n")
        assert recovery.events(epath.Path(tmp_path)) == [EVENT]
        recovery._append(epath.Path(tmp_path), EVENT | {"action": "rollback"})
        assert recovery.events(epath.Path(tmp_path)) == [EVENT, EVENT | {"action": "rollback"}]
        aside = tmp_path / f"{recovery.FILE}.damaged"
        assert json.loads(aside.read_text()) == EVENT | change
        aside.unlink()
    assert "line 1 is no record, and is set aside in guard.jsonl.damaged" in caplog.messages[-1]


PROBE = {"step": 4, "signals": {"d_real": 0.5}, "singular": {"generator": {"conv.kernel": [1.0, 0.5]}}}
SCORE = {"step": 3, "of": "a", "content": "c", "time": "t", "judged": ["fid"], "scores": {"fid": 1.0}, "by_class": {}}


@given(st.sampled_from([b"", b"\n"]), damaged([json.dumps(line).encode() for line in (EVENT, PROBE, SCORE)]))
def test_any_bytes_are_records_or_left_out(tmp_path_factory, before, raw):
    file = epath.Path(tmp_path_factory.getbasetemp()) / "any.jsonl"
    file.write_bytes(before + raw)
    for valid in (recovery.is_event, is_probe, is_metrics):
        for record in jsonl.read_file(file, valid):
            assert record["step"] >= 0
    results.read(file)


def test_names_in_a_runs_own_files_cannot_drive_a_terminal(tmp_path):
    evil = "\x1b]0;title\x07"
    run = epath.Path(tmp_path)
    (run / recovery.FILE).write_text(json.dumps(EVENT | {"sentence": evil, evil: [evil]}) + "\n")
    (run / "stability.jsonl").write_text(json.dumps(PROBE | {"signals": {evil: 1.0}}) + "\n")
    for found in (recovery.events(run), jsonl.read(run, "stability", is_probe)):
        assert len(found) == 1 and "\\x1b]0;title\\x07" in repr(found).replace("\\\\", "\\") and evil not in str(found)
