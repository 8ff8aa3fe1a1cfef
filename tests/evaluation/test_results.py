import dataclasses

from etils import epath

from biggan_jax.evaluation import results
from biggan_jax.evaluation.metrics import Results
from biggan_jax.evaluation.results import Protocol, Subject

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


def evaluated(step, protocol=FID, distance=8.7):
    values = {"frechet_distance": distance, "inception_score": 98.8, "inception_score_std": 1.1}
    return results.record(Subject("runs/a", "abc", step), protocol, ("fid", "is"), Results(values, {}))


def test_records_are_stored_and_found(tmp_path):
    path = epath.Path(tmp_path) / results.SCORES
    assert results.read(path) == []
    for step in (1, 2):
        results.append(path, evaluated(step))
    found = results.read(path)
    assert [r["step"] for r in found] == [1, 2]
    here = Subject("elsewhere", "abc", 2)
    assert results.find(found, here, FID) == found[1]
    assert not results.find(found, here, OTHER)
    assert not results.find(found, dataclasses.replace(here, content="def"), FID)


def test_a_truncated_line_is_skipped(tmp_path):
    path = epath.Path(tmp_path) / results.SCORES
    results.append(path, evaluated(1))
    with open(path, "a") as file:
        file.write('{"step": 2, "of"')
    assert [r["step"] for r in results.read(path)] == [1]
    results.append(path, evaluated(3))
    assert [r["step"] for r in results.read(path)] == [1, 3], "and the next line is whole"


def test_results_of_two_protocols_never_share_a_table():
    for field in dataclasses.fields(Protocol):
        changed = {"samples": 1000, "seed": 1}.get(field.name, "another")
        other = dataclasses.replace(FID, **{field.name: changed})
        text = results.table([evaluated(1), evaluated(2), evaluated(1, other)])
        tables = [block for block in text.split("\n\n") if block.startswith("|")]
        assert [len(block.splitlines()) for block in tables] == [4, 3], field.name


def test_only_inceptions_distance_is_called_fid():
    assert "| FID |" in results.table([evaluated(1)]) and "98.8 ± 1.1" in results.table([evaluated(1)])
    text = results.table([evaluated(1, OTHER)])
    assert "| FID |" not in text and "Frechet distance" in text and "not comparable with Inception FID" in text


def test_later_results_of_the_same_subject_win():
    cells = results.table([evaluated(1, distance=9.25), evaluated(1, distance=7.25)]).split()
    assert "7.25" in cells and "9.25" not in cells


def test_metrics_computed_later_are_in_the_same_row(tmp_path):
    subject = Subject("elsewhere/a", "abc", 1)
    later = results.record(subject, FID, ("kid",), Results({"kernel_distance": 0.5, "kernel_distance_std": 0.1}, {}))
    both = results.find([evaluated(1), later], subject, FID)
    assert both["judged"] == ["fid", "is", "kid"] and both["scores"].keys() >= {"frechet_distance", "kernel_distance"}
    (row,) = [line for line in results.table([evaluated(1), later]).splitlines() if line.startswith("|    1")]
    assert "8.7" in row and "0.5 ± 0.1" in row


def test_records_of_other_versions_are_skipped(tmp_path):
    path = epath.Path(tmp_path) / results.SCORES
    for line in ('{"step": 1}', "[]", '{"protocol": {"network": "x"}}'):
        path.write_text(line + "\n")
        assert results.read(path) == []


def test_an_interval_stands_beside_its_metric():
    scores = {"frechet_distance": 12.34, "frechet_distance_low": 11.0, "frechet_distance_high": 13.5}
    text = results.table([results.record(Subject("a", "1", 3), OTHER, ["fid"], Results(scores, {}))])
    assert "12.34 [11, 13.5]" in text and "low" not in text
    del scores["frechet_distance"]
    text = results.table([results.record(Subject("a", "1", 3), OTHER, ["fid"], Results(scores, {}))])
    assert "Frechet distance" in text and "[11, 13.5]" in text
