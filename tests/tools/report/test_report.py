"""The report of a run: what it holds, and what text in a run's files cannot do."""

import html
import re

import pytest
from etils import epath

from biggan_jax.evaluation.curves import Series
from biggan_jax.tools.report import charts, curves, page
from biggan_jax.tools.report import run as run_report
from biggan_jax.types import UserError
from tests.cli import refused, run
from tests.tools.report import made


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return made.run(tmp_path_factory.mktemp("report") / "run")


@pytest.fixture(scope="module")
def text(folder):
    return run_report.report(epath.Path(folder))


def test_the_report_has_what_the_run_has(text):
    for title in ("Samples over time", "Scores", "Curves", "Diagnostics", "Events", "Config", "Environment"):
        assert re.search(rf"<h2 id=\"\w+\">{title}", text), title
    assert "1,000 of 2,000" in text and "healthy, by the collapse monitor" in text
    assert text.count('class="samples"') == 2 and "step of averaged weights" in text
    assert "Frechet distance" in text and "real images" in text and "network classifier" in text
    assert text.count("<svg") == 5 + 2 + 2, "curves, scores, diagnostics"


def test_text_of_a_runs_files_is_escaped(text):
    assert made.HOSTILE not in text and "<img src=x" not in text
    assert text.count(html.escape(made.HOSTILE, quote=True)) >= 2
    assert len(re.findall(r"<script", text)) == 3, "the page's own, and two of data"


def test_the_page_loads_nothing(text):
    loaded = re.findall(r'(?:src|href|xlink:href)="(?!data:|#)([^"]*)"', text) + re.findall(
        r"url\((?!#)([^)]*)\)", text
    )
    assert not loaded
    assert "@import" not in text and "default-src 'none'" in text


def test_charts_take_their_colours_from_the_page():
    drawn = charts.chart("a < b", [Series("x", [1, 2], [3.0, 4.0])], [2], level=("real", 3.5))
    assert charts.INK not in drawn and "var(--ink)" in drawn and "a &lt; b" in drawn
    other = charts.chart("another", [Series("x", [1, 2], [3.0, 4.0])])
    ids = lambda found: set(re.findall(r' id="([\w-]+)"', found))
    assert ids(drawn) and not ids(drawn) & ids(other)


def test_long_curves_are_thinned_and_grouped():
    records = [{"step": i, "g_loss": float(i), "d_grad_norm": 1.0, "own": 2.0} for i in range(5000)]
    panels = curves.logged(records)
    assert list(panels) == ["Losses", "Gradient norms", "own"]
    (line,) = panels["Losses"]
    assert len(line.steps) == curves.MOST and line.steps[0] == 0 and line.steps[-1] == 4999


def test_a_run_with_a_config_alone_has_a_report(tmp_path, folder):
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    found = run_report.report(epath.Path(tmp_path))
    assert "not known: the run has no probes" in found and '<h2 id="config"' in found and "<svg" not in found


def test_the_command_writes_one_file(tmp_path, folder):
    out = tmp_path / "a.html"
    result = run("tools.report", folder, f"--out={out}")
    assert result.returncode == 0 and f"{out}: " in result.stdout, result.stderr
    assert out.read_text().startswith("<!doctype html>")
    refused(run("tools.report"), "--workdir is needed, such as biggan-report runs/demo")


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="nowhere does not exist; give the folder of a run"):
        run_report.report(epath.Path(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"has no config\.json, which every run has"):
        run_report.report(epath.Path(tmp_path))


def test_pictures_over_steps_are_data_of_the_page():
    found = page.slider("</script>", [(5, b"\x89PNG"), (10, b"\x89PNG")])
    assert found.count("data:image/png;base64,iVBORw==") == 3 and "&lt;/script&gt;" in found
