import json
import math

import matplotlib.image
import numpy as np
import pytest
from etils import epath

from biggan_jax.config import base, to_json
from biggan_jax.stability import history, plot, verdict
from biggan_jax.stability.rules import rules_of
from biggan_jax.types import UserError
from tests.cli import run
from tests.variants import further_slow

G, D = "generator", "discriminator"
G_LAYERS = ["linear.kernel", "block_0.bn_1.gain.kernel", "block_0.conv_1.kernel", "conv_out.kernel"]
D_LAYERS = ["block_0.conv_1.kernel", "linear.kernel", "embed.embedding"]


def probe(step, attempt=0, *, growth=0.01, **signals):
    """Return a record in which only G's first convolution grows. As in training, attempt 0 is not written."""
    grown = 1 + growth * step
    singular = {
        G: {name: [1.0, 0.5, 0.25] for name in G_LAYERS} | {"block_0.conv_1.kernel": [2 * grown, 1.0, 0.5]},
        D: {name: [3.0, 2.0, 1.0] for name in D_LAYERS} | {"linear.kernel": [1.5, 0.0, 0.0]},
    }
    record = {"step": step, "signals": {"d_real": 0.5, "d_gap": 0.01 * step, **signals}, "singular": singular}
    return record | ({"attempt": attempt} if attempt else {})


def event(step, attempt=0, **changes):
    found = {"step": step, "attempt": attempt, "onset": step - 100, "signal": "d_gap", "value": 3.0, "threshold": 2.5}
    return found | {"sentence": "d_gap is 3, above 2.5", "action": "rollback", "checkpoint": step - 100} | changes


def write(folder, probes, events=(), *, half=False):
    folder.mkdir(exist_ok=True)
    lines = lambda records: "".join(json.dumps(record) + "\n" for record in records)
    (folder / "stability.jsonl").write_text(lines(probes) + ('{"step": 999, "sign' if half else ""))
    if events:
        (folder / "guard.jsonl").write_text(lines(events))
    return folder


@pytest.fixture
def rolled_back(tmp_path):
    """Attempt 0 collapses at step 300; attempt 1 resumes at step 200 and reaches 400."""
    first = [probe(step) for step in (100, 200, 300)]
    second = [probe(step, 1, growth=0.02, score=1.0) for step in (300, 400)]
    return write(tmp_path / "run", first + second, [event(300)], half=True)


def test_a_run_has_its_lineage_and_abandoned_attempts(rolled_back):
    run = history.read(rolled_back)
    assert [(r["step"], r.get("attempt", 0)) for r in run.probes] == [(100, 0), (200, 0), (300, 1), (400, 1)]
    (tail,) = run.abandoned
    assert [(r["step"], r.get("attempt", 0)) for r in tail] == [(200, 0), (300, 0)], "starts on the lineage"
    assert [e["step"] for e in run.events] == [300]


def test_a_truncated_line_is_skipped(rolled_back):
    assert 999 not in [r["step"] for r in history.read(rolled_back).probes]


def test_records_that_are_no_probes_are_skipped(tmp_path):
    write(tmp_path, [{"step": 1}, {"step": 2, "signals": 3, "singular": {}}, probe(100)])
    assert [r["step"] for r in history.read(tmp_path).probes] == [100]


def test_parts_of_an_object_store_are_one_record(tmp_path):
    for first, steps in ((0, (100, 200)), (200, (300,))):
        text = "".join(json.dumps(probe(step)) + "\n" for step in steps)
        (tmp_path / f"stability-{first:08d}.jsonl").write_text(text)
    assert [r["step"] for r in history.read(tmp_path).probes] == [100, 200, 300]


def test_layers_go_from_input_to_output():
    names = ["attention_0.g.kernel", "block_0.bn_1.gain.kernel", "block_0.bn_2.gain.kernel", "block_0.conv_1.kernel"]
    names += ["block_0.conv_2.kernel", "block_0.conv_skip.kernel", "block_1.conv_1.kernel", "block_10.conv_1.kernel"]
    names += ["block_2.conv_1.kernel", "conv_out.kernel", "linear.kernel"]
    records = [{"singular": {G: dict.fromkeys(names), D: {}}}]
    assert history.layers(records, G) == [
        "linear.kernel",
        "block_0.bn_1.gain.kernel",
        "block_0.conv_1.kernel",
        "block_0.bn_2.gain.kernel",
        "block_0.conv_2.kernel",
        "block_0.conv_skip.kernel",
        "attention_0.g.kernel",
        "block_1.conv_1.kernel",
        "block_2.conv_1.kernel",
        "block_10.conv_1.kernel",
        "conv_out.kernel",
    ]


def test_layers_of_d_end_with_linear_and_embedding():
    names = ["attention_0.o.kernel", "block_0_0.conv_4.kernel", "block_0_1.conv_1.kernel", "block_1_0.conv_1.kernel"]
    names += ["conv_in.kernel", "embed.embedding", "linear.kernel"]
    assert history.layers([{"singular": {D: dict.fromkeys(names)}}], D) == [
        "conv_in.kernel",
        "block_0_0.conv_4.kernel",
        "block_0_1.conv_1.kernel",
        "attention_0.o.kernel",
        "block_1_0.conv_1.kernel",
        "linear.kernel",
        "embed.embedding",
    ]


def test_values_that_a_log_axis_cannot_show_are_nan(rolled_back):
    probes = history.read(rolled_back).probes
    steps, values = history.singular_values(probes, D, "linear.kernel")
    assert steps.tolist() == [100, 200, 300, 400]
    np.testing.assert_array_equal(values, [[1.5, math.nan, math.nan]] * 4)
    probes[1]["singular"][D]["linear.kernel"] = [math.nan] * 3  # Written by a run with NaN weights.
    assert np.isnan(history.singular_values(probes, D, "linear.kernel")[1][1]).all()


def test_a_signal_is_drawn_only_where_it_was_recorded(rolled_back):
    steps, figures = history.signal(history.read(rolled_back).probes, "score")
    assert (steps.tolist(), figures.tolist()) == ([300, 400], [1.0, 1.0])


def test_the_summary_lists_the_fastest_growth_first(rolled_back):
    probes = history.read(rolled_back).probes
    title, first, *_, last = history.summary(probes, G, 2).splitlines()
    assert title.split() == ["weight", "sigma_0", "first", "last", "growth", "sigma_0/sigma_1", "first", "last"]
    # 2 x (1 + 0.01 x 100) to 2 x (1 + 0.02 x 400), sigma_1 being 1.
    assert first.split() == ["block_0.conv_1.kernel", "4", "18", "x", "4.5", "4", "18"]
    assert last.strip() == "... and 2 that grew less"


def test_nan_counts_as_the_fastest_growth(rolled_back):
    probes = history.read(rolled_back).probes
    probes[-1]["singular"][G]["linear.kernel"] = [math.nan] * 3
    assert history.by_growth(probes, G)[:2] == ["linear.kernel", "block_0.conv_1.kernel"]
    assert "linear.kernel" in history.summary(probes, G, 1)


def lines_of(axes, **style):
    return [line for line in axes.get_lines() if all(getattr(line, f"get_{k}")() == v for k, v in style.items())]


def test_spectra_have_a_panel_per_network_and_a_colour_per_layer(rolled_back):
    g, d, *bars = plot.spectra_figure(history.read(rolled_back)).axes
    assert g.get_yscale() == d.get_yscale() == "log"
    drawn = {line.get_label(): line for line in g.get_lines() if line.get_label() in G_LAYERS}
    assert list(drawn) == G_LAYERS
    assert drawn["block_0.conv_1.kernel"].get_ydata().tolist() == [4.0, 6.0, 14.0, 18.0]
    assert len({line.get_color() for line in drawn.values()}) == len(G_LAYERS)
    assert [text.get_text() for text in bars[0].get_yticklabels()] == [
        "linear",
        "block_0.bn_1.gain",
        "block_0.conv_1",
        "conv_out",
    ]
    assert [text.get_text() for text in bars[1].get_yticklabels()] == ["block_0.conv_1", "linear", "embed"]


def test_networks_besides_g_and_d_are_drawn_and_tabled(tmp_path):
    singular = {name: {"linear.kernel": [3.0, 2.0, 1.0]} for name in ("G_B", "D_A", "G_A")}
    probes = [{"step": step, "signals": {"pixel_spread": 1.0}, "singular": singular} for step in (0, 100)]
    done = command(f"--workdir={write(tmp_path / 'run', probes)}")
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line in singular] == ["D_A", "G_A", "G_B"]
    assert {path.name for path in (tmp_path / "run/stability").iterdir()} >= {f"layers_{name}.png" for name in singular}
    assert len(plot.spectra_figure(history.read(tmp_path / "run")).axes) == 6, "a panel and a colour bar each"


def test_a_colour_bar_of_many_layers_names_blocks(tmp_path):
    record = probe(100)
    record["singular"][G] = {f"block_{i}.conv_{j}.kernel": [1.0, 1.0, 1.0] for i in range(10) for j in range(6)}
    _, _, bar, _ = plot.spectra_figure(history.Run([record], [], [])).axes
    assert [text.get_text() for text in bar.get_yticklabels()] == [f"block_{i}" for i in range(10)]
    assert bar.get_yticks()[:2].tolist() == [2.5, 8.5], "the middle of its six"


def test_abandoned_attempts_are_faint(rolled_back):
    g, *_ = plot.spectra_figure(history.read(rolled_back)).axes
    faint = [line for line in g.get_lines() if line.get_alpha() == 0.4]
    assert len(faint) == len(G_LAYERS)
    assert {tuple(line.get_xdata()) for line in faint} == {(200, 300)}


def test_events_onsets_and_new_attempts_are_vertical_lines(rolled_back):
    g, *_ = plot.spectra_figure(history.read(rolled_back)).axes
    vertical = {line.get_xdata()[0]: line for line in g.get_lines() if len(set(line.get_xdata())) == 1}
    colours = {"tab:red": 300, "tab:orange": 200, "tab:green": 200}
    found = {(line.get_color(), line.get_xdata()[0]) for line in g.get_lines() if len(set(line.get_xdata())) == 1}
    assert found == set(colours.items())
    assert vertical[300].get_alpha() < 1, "of an abandoned attempt"
    assert {"d_gap: rollback (attempt 0)", "attempt 1"} <= {text.get_text() for text in g.texts}


def test_the_event_that_ended_a_run_is_opaque(tmp_path):
    run = history.read(write(tmp_path, [probe(100), probe(200)], [event(200, action="stop")]))
    g, *_ = plot.spectra_figure(run).axes
    assert [line.get_alpha() for line in lines_of(g, color="tab:red")] == [1.0]


def test_a_broken_rule_is_drawn_with_its_threshold(tmp_path):
    probes = [probe(step, d_fake=0.2, pixel_spread=spread) for step, spread in ((100, 1.0), (200, 0.05), (300, 0.04))]
    run = history.read(write(tmp_path, probes, [event(300, signal="spread")]))
    axes = {a.get_title().split(" (")[0]: a for a in plot.signals_figure(run).axes}
    assert axes.keys() == {"d_real", "d_gap", "d_fake", "pixel_spread", "rule: contrast", "rule: spread"}
    assert axes["rule: spread"].get_title() == "rule: spread (verdict at step 300)"
    assert [line.get_ydata()[0] for line in lines_of(axes["rule: spread"], linestyle="--")] == [0.1]
    np.testing.assert_allclose(axes["rule: contrast"].lines[0].get_ydata(), 0.3)
    assert not lines_of(axes["d_real"], linestyle="--")
    of_points = [a.get_title() for a in plot.signals_figure(run, rules_of((2,))).axes]
    assert "rule: contrast" not in of_points and "rule: spread (verdict at step 300)" in of_points


def test_each_layer_has_a_panel_on_a_shared_scale(rolled_back):
    axes = plot.layers_figure(history.read(rolled_back), G).axes
    assert [a.get_title() for a in axes] == ["linear", "block_0.bn_1.gain", "block_0.conv_1", "conv_out"]
    assert len({a.get_ylim() for a in axes}) == 1
    solid = {line.get_label(): line.get_ydata().tolist() for line in axes[2].get_lines() if line.get_alpha() == 1}
    assert {name: values for name, values in solid.items() if name.startswith("sigma")} == {
        "sigma_0": [4.0, 6.0, 14.0, 18.0],
        "sigma_1": [1.0] * 4,
        "sigma_2": [0.5] * 4,
    }


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "change",
    further_slow(
        [
            lambda probes: probes,
            lambda probes: probes[:1],
            lambda probes: [r | {"singular": {G: {}, D: r["singular"][D]}} for r in probes],
            lambda probes: [probe(100), probe(200, d_real=math.nan, d_gap=math.inf)],
            lambda probes: [probe(100), probe(200) | {"singular": {G: dict.fromkeys(G_LAYERS, [math.nan] * 3), D: {}}}],
        ],
        quick=(0, 3),
    ),
    ids=["complete", "one probe", "G is not normalised", "NaN signals", "NaN weights"],
)
def test_incomplete_runs_are_drawn(rolled_back, tmp_path, change):
    run = history.read(rolled_back)
    run = run._replace(probes=change(run.probes))
    for path in plot.draw(run, epath.Path(tmp_path / "out")):
        assert matplotlib.image.imread(path).shape[0] > 100
    history.summary(run.probes, G, 3)


@pytest.mark.parametrize("events", [[{"step": 300}], [event(300, signal="nonfinite", value=None, threshold=math.nan)]])
def test_incomplete_events_are_drawn(tmp_path, events):
    run = history.read(write(tmp_path, [probe(100), probe(300)], events))
    plot.signals_figure(run), plot.spectra_figure(run)


def test_a_checkpoints_table_is_from_input_to_output():
    table = history.checkpoint_table(probe(0)["singular"][D], D).splitlines()
    assert [line.split()[0] for line in table[1:]] == D_LAYERS
    assert table[2].split() == ["linear.kernel", "1.5", "-", "-", "-"], "a weight of one output has one value"


def test_a_folder_without_probes_is_refused(tmp_path):
    with pytest.raises(UserError, match="is not a folder"):
        history.read(tmp_path / "nowhere")
    with pytest.raises(UserError, match="has no probes in stability.jsonl; .*--checkpoint="):
        history.read(tmp_path)


@pytest.mark.parametrize(
    ("every", "why"),
    [(0, "stability.every=0 writes none"), (50, "due in step stability.every=50, its num_steps are 40; --checkpoint=")],
)
def test_the_config_tells_why_a_run_has_no_probes(tmp_path, every, why):
    (tmp_path / "config.json").write_text(json.dumps({"stability.every": every, "num_steps": 40}))
    with pytest.raises(UserError, match=why):
        history.read(tmp_path)


def command(*arguments):
    return run("stability", *arguments)


def test_the_command_writes_pictures_and_prints_tables(rolled_back):
    done = command(f"--workdir={rolled_back}", "--rows=1")
    assert done.returncode == 0, done.stderr
    names = {path.name for path in (rolled_back / "stability").iterdir()}
    assert names == {"spectra.png", "signals.png", "layers_generator.png", "layers_discriminator.png"}
    assert "step 300: d_gap is 3, above 2.5; rollback" in done.stdout
    assert "4 probes, steps 100 to 400; at the last: unknown: the probes of another version lack" in done.stdout
    assert "block_0.conv_1.kernel" in done.stdout and "... and 3 that grew less" in done.stdout


def test_the_command_prints_singular_values_of_a_checkpoint(workdir):
    done = command(f"--checkpoint={workdir}")
    assert done.returncode == 0, done.stderr
    g, d = done.stdout.split("\nD\n")
    row = next(line.split() for line in g.splitlines() if line.startswith("block_0.conv_1.kernel"))
    # Fresh weights are orthogonal.
    assert [float(x) for x in row[1:]] == pytest.approx([1, 1, 1, 1], abs=1e-3)
    assert "embed.embedding" in d


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "--workdir or --checkpoint is needed"),
        (("--workdir=a", "--checkpoint=b"), "--workdir or --checkpoint is needed, not both"),
        (("--workdir=/nowhere",), "--workdir=/nowhere is not a folder"),
        (("--checkpoint=/nowhere",), "no checkpoint at /nowhere"),
        (("--checkpoint=a", "--out=b"), "--out has no effect with --checkpoint"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_2(arguments, sentence):
    done = run("stability", *arguments)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert sentence in line


@pytest.mark.parametrize(("diversity", "said"), [(0.9, "healthy, as far as"), (0.001, "not healthy: ")])
def test_a_run_is_healthy_unless_a_rule_is_broken(tmp_path, diversity, said):
    probes = [probe(step, d_fake=-0.5, pixel_diversity=diversity) for step in range(0, 1000, 100)]
    folder = write(tmp_path / "run", probes)
    assert verdict.verdict(history.read(folder), folder).startswith(said)


def test_points_that_d_cannot_tell_apart_are_healthy(tmp_path):
    probes = [probe(step, d_real=0.0, d_fake=0.0, pixel_diversity=0.9) for step in range(0, 1000, 100)]
    folder = write(tmp_path / "run", probes)
    c = base("wgan")
    for shape, said in (((64, 64, 3), "not healthy: D no longer tells"), ((2,), "healthy, ")):
        c.model.image_shape = shape
        (folder / "config.json").write_text(to_json(c))
        assert verdict.verdict(history.read(folder), folder).startswith(said)
