"""What a run's folder holds, as the sections of its report."""

import json
import platform
from importlib import metadata

from etils import epath

from biggan_jax import config as configs
from biggan_jax.checkpoint import checkpoint_steps
from biggan_jax.checkpoint.restore import load_metadata
from biggan_jax.evaluation import curves as score_curves
from biggan_jax.evaluation import results
from biggan_jax.evaluation.results import Protocol
from biggan_jax.runtime import jsonl
from biggan_jax.runtime.files import matching
from biggan_jax.runtime.metric_writer import PROBES
from biggan_jax.runtime.text import escape_all
from biggan_jax.stability import history, plot, recovery, rules
from biggan_jax.tools.notebook import is_metrics
from biggan_jax.tools.report import charts, curves, page
from biggan_jax.tools.report.page import Section
from biggan_jax.types import UserError

MOST_GRIDS, MOST_BYTES = 24, 16_000_000
"""Grids of samples of each kind of weights, evenly spread over the steps, and their bytes in all."""

KINDS = {"ema": "averaged weights", "live": "weights as they are trained"}


class Run:
    """A run's folder, read once. Raises UserError if the path is not a run's folder."""

    def __init__(self, path: epath.Path):
        self.path = path
        if not (path / "config.json").exists():
            what = "does not exist" if not path.exists() else "has no config.json, which every run has"
            raise UserError(f"{path} {what}; give the folder of a run, such as runs/demo")
        self.config = configs.of_file(path / "config.json")
        self.metrics = jsonl.current_lineage(jsonl.read(path, "metrics", is_metrics))
        self.scores = results.read(path / results.SCORES)
        self.events = recovery.events(path)
        self.probes = history.read(path) if jsonl.read(path, PROBES, history.is_probe) else None
        self.rules = rules.rules_of(self.config.model.get("image_shape", (0, 0, 3)))

    @property
    def event_steps(self) -> list[int]:
        return [event["step"] for event in self.events]

    @property
    def last_step(self) -> int:
        """The last step that was logged; 0 without."""
        return self.metrics[-1]["step"] if self.metrics else 0

    def verdict(self) -> tuple[str, bool]:
        """Say whether the run is healthy at its last probe, and whether it is."""
        if self.probes is None:
            return "not known: the run has no probes", True
        try:
            found = rules.evaluate(self.probes.probes, configs.expected_scores(self.config), rules=self.rules)
        except KeyError as error:
            return f"not known: the probes of another version lack {error}", True
        return (
            (f"not healthy: {found.sentence}", False) if found else ("healthy, by the collapse monitor's rules", True)
        )


def report(path: epath.Path) -> str:
    """Return the report of the run in a folder as HTML. Raises UserError."""
    run = Run(path)
    made = [samples(run), scores(run), metrics(run), spectra(run), events(run), config(run), environment(run)]
    sections = [section for section in made if section]
    version = metadata.version("biggan_jax")
    return page.page(path.resolve().name, lead(run), sections, f"Made by biggan-report {version} from {path.resolve()}")


def lead(run: Run) -> str:
    c, (verdict, healthy) = run.config, run.verdict()
    rows: dict[str, object] = {
        "family": c.model.family,
        "step": f"{run.last_step:,} of {c.num_steps:,}",
        "batch size": c.batch_size,
        "data": " ".join(filter(None, (c.data.name, c.data.dataset, c.data.dir))),
    }
    if run.metrics:
        rows["images a second"] = f"{run.metrics[-1]['images_per_second']:.3g}"
    kept = [
        record["signals"]["score"]
        for record in (run.probes.probes if run.probes else ())
        if "score" in record["signals"]
    ]
    if kept:
        rows[f"score while training ({c.score.network})"] = f"{kept[-1]:.4g}, best {min(kept):.4g}"
    kind = "right" if healthy else "wrong"
    return f'<p class="{kind}">{page.escape(verdict)}</p>' + page.facts(rows)


def samples(run: Run) -> Section | None:
    body = ""
    for kind, name in KINDS.items():
        found = matching(run.path / "samples", f"*_{kind}.png")
        chosen = [found[i * (len(found) - 1) // max(1, MOST_GRIDS - 1)] for i in range(MOST_GRIDS)] if found else []
        if len(found) <= MOST_GRIDS:
            chosen = found
        pictures = [(int(file.name.split("_")[0]), file.read_bytes()) for file in chosen]
        while len(pictures) > 1 and sum(len(png) for _, png in pictures) > MOST_BYTES // len(KINDS):
            pictures = pictures[:-1:2] + pictures[-1:]  # The last is shown first.
        if pictures:
            note = f"{len(pictures)} of {len(found)} grids" if len(pictures) < len(found) else ""
            body += page.slider(name, pictures, note)
    return Section("samples", "Samples over time", f'<div class="charts">{body}</div>') if body else None


def scores(run: Run) -> Section | None:
    groups: dict[str, list[results.Record]] = {}
    for record in run.scores:
        groups.setdefault(Protocol(**record["protocol"]).words(), []).append(record)
    found, body = score_curves.scored(run.scores), ""
    for words, group in groups.items():
        lines = results.table(group).splitlines()
        grid = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines if line.startswith("| ")]
        body += "".join(
            f'<p class="faint">{page.escape(line)}</p>' for line in lines if line and not line.startswith("|")
        )
        body += page.table(grid[0], grid[1:], "scores")
        drawn = [
            charts.chart(title, [line], run.event_steps, level=None if real is None else ("real images", real))
            for title, line, real in found.get(words, ())
        ]
        body += page.figures(drawn) if drawn else ""
    return Section("scores", "Scores, each with its protocol", body) if body else None


def metrics(run: Run) -> Section | None:
    panels = curves.logged(run.metrics)
    body = page.figures(charts.chart(title, lines, run.event_steps) for title, lines in panels.items())
    return Section("curves", "Curves", body) if panels else None


def spectra(run: Run) -> Section | None:
    if run.probes is None:
        return None
    probes = run.probes
    drawn = {"signals": lambda: plot.signals_figure(probes, run.rules), "spectra": lambda: plot.spectra_figure(probes)}
    body = "".join(f'<figure class="wide">{charts.svg(draw, name)}</figure>' for name, draw in drawn.items())
    return Section("spectra", "Diagnostics: signals, rules, singular values", body)


def events(run: Run) -> Section | None:
    if not run.events:
        return Section("events", "Events", "<p>The collapse monitor has seen none.</p>") if run.probes else None
    rows = [
        (event["step"], event.get("attempt", 0), event.get("signal", ""), event["action"], event.get("sentence", ""))
        for event in run.events
    ]
    return Section("events", "Events", page.table(("step", "attempt", "signal", "action", "what"), rows))


def config(run: Run) -> Section:
    flat = sorted(configs.flatten(run.config.to_dict()).items())
    base = configs.flatten(configs.base(run.config.model.family).to_dict())
    changed = [(key, json.dumps(value), json.dumps(base.get(key))) for key, value in flat if base.get(key) != value]
    rows = page.table(("key", "value", "default"), escape_all([list(row) for row in changed]))
    everything = page.table(("key", "value"), escape_all([[key, json.dumps(value)] for key, value in flat]))
    body = f"{rows}<details><summary>all {len(flat)} keys</summary>{everything}</details>"
    return Section("config", "Config: what differs from the defaults", body)


def environment(run: Run) -> Section:
    rows: dict[str, object] = {}
    steps = checkpoint_steps(run.path)
    if steps:
        found = load_metadata(run.path / "checkpoints" / str(steps[-1]))
        rows["jax of the newest checkpoint"] = found.get("jax", "not recorded")
        rows |= {f"{name} (recorded)": value for name, value in (found.get("numerics") or {}).items()}
        rows["checkpoints"] = ", ".join(map(str, steps[-8:]))
    rows["Python of this report"] = platform.python_version()
    rows |= {f"{name} of this report": metadata.version(name) for name in ("jax", "flax", "numpy")}
    return Section("environment", "Environment", page.facts(escape_all(rows)))
