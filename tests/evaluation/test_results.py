import dataclasses

import pytest
from etils import epath

from biggan_jax.evaluation import results
from biggan_jax.evaluation.metrics import Scores
from biggan_jax.evaluation.protocol import Protocol

FID = Protocol(
    network="inception-2015",
    weights_of_network="abcdef0123",
    resizer="TF1 bilinear to 299",
    note="",
    reference="50,000 real images",
    reference_content="1234",
    samples=50_000,
    labels="balanced",
    truncation="none",
    statistics="standing, 100 batches",
    weights="ema",
    seed=0,
    formulas="IS over 10 splits",
)
OTHER = dataclasses.replace(FID, network="classifier", note="not comparable with Inception FID or IS")


def judged(step, protocol=FID, distance=8.7):
    scores = {"frechet_distance": distance, "inception_score": 98.8, "inception_score_std": 1.1}
    return results.record("runs/a", "abc", step, protocol, ("fid", "is"), Scores(scores, {}))


def test_what_is_kept_is_read_again_and_known(tmp_path):
    folder = epath.Path(tmp_path)
    assert results.records(folder) == []
    for step in (1, 2):
        results.keep(folder, judged(step))
    found = results.records(folder)
    assert [r["step"] for r in found] == [1, 2]
    assert results.known(found, "abc", 2, FID) == found[1]
    assert not results.known(found, "abc", 2, OTHER) and not results.known(found, "def", 2, FID)


def test_the_half_line_of_a_killed_process_is_passed_over(tmp_path):
    folder = epath.Path(tmp_path)
    results.keep(folder, judged(1))
    with open(folder / results.SCORES, "a") as file:
        file.write('{"step": 2, "of"')
    assert [r["step"] for r in results.records(folder)] == [1]
    results.keep(folder, judged(3))
    assert [r["step"] for r in results.records(folder)] == [1, 3], "nor does it swallow the next one"


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(Protocol)])
def test_scores_of_two_protocols_never_share_a_table(field):
    changed = {"samples": 1000, "seed": 1}.get(field, "another")
    text = results.table([judged(1), judged(2), judged(1, dataclasses.replace(FID, **{field: changed}))])
    tables = [block for block in text.split("\n\n") if block.startswith("|")]
    assert [len(block.splitlines()) for block in tables] == [4, 3]


def test_only_inceptions_distance_is_called_fid():
    assert "| FID |" in results.table([judged(1)]) and "98.8 ± 1.1" in results.table([judged(1)])
    text = results.table([judged(1, OTHER)])
    assert "| FID |" not in text and "Frechet distance" in text and "not comparable with Inception FID" in text


def test_the_later_judgement_of_the_same_counts():
    cells = results.table([judged(1, distance=9.25), judged(1, distance=7.25)]).split()
    assert "7.25" in cells and "9.25" not in cells


def test_scores_that_were_judged_later_stand_in_the_same_row(tmp_path):
    later = results.record(
        "elsewhere/a", "abc", 1, FID, ("kid",), Scores({"kernel_distance": 0.5, "kernel_distance_std": 0.1}, {})
    )
    both = results.known([judged(1), later], "abc", 1, FID)
    assert both["judged"] == ["fid", "is", "kid"] and both["scores"].keys() >= {"frechet_distance", "kernel_distance"}
    (row,) = [line for line in results.table([judged(1), later]).splitlines() if line.startswith("|    1")]
    assert "8.7" in row and "0.5 ± 0.1" in row


def test_what_another_version_wrote_is_passed_over(tmp_path):
    folder = epath.Path(tmp_path)
    for line in ('{"step": 1}', "[]", '{"protocol": {"network": "x"}}'):
        (folder / results.SCORES).write_text(line + "\n")
        assert results.records(folder) == []
