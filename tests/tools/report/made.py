"""A run's folder as training and evaluation leave it, without training."""

import json

import numpy as np
from etils import epath

from biggan_jax import config as configs
from biggan_jax.evaluation import results
from biggan_jax.evaluation.metrics import Results
from biggan_jax.evaluation.results import Subject
from biggan_jax.sampling.pictures import save_png
from tests.conftest import ROOT, tiny_config
from tests.evaluation.test_results import OTHER

HOSTILE = '</script><script>document.title="taken"</script><img src=x onerror=alert(1)>'


def run(folder):
    """Write the folder, with hostile text wherever a run's files hold text, and return it."""
    folder.mkdir()
    config = tiny_config()
    config.num_steps, config.data.dir = 2000, f"/data/{HOSTILE}"
    (folder / "config.json").write_text(configs.to_json(config))
    steps = range(50, 1001, 50)
    lines = [
        {"step": step, "g_loss": 1.0 + np.sin(step / 90), "d_loss": 2.0 - step / 2000, "images_per_second": 140.0}
        | {"d_real": 1.0, "d_fake": -1.0, "host_gb": 1.5, HOSTILE: 1.0}
        for step in steps
    ]
    write(folder / "metrics.jsonl", lines)
    probes = json.loads((ROOT / "tests" / "data" / "healthy_looks.json").read_text())[:12]
    layers = {"generator": {"conv_in": 1.0, "block_0.conv_1.kernel": 1.4}, "discriminator": {"linear": 1.2}}
    for i, probe in enumerate(probes):
        grown = lambda value, i=i: [value * 1.02**i, value * 0.7, value * 0.5]
        probe["singular"] = {n: {name: grown(v) for name, v in weights.items()} for n, weights in layers.items()}
    write(folder / "stability.jsonl", probes)
    event = {"step": 600, "attempt": 0, "onset": 550, "action": "ignored", "signal": "diversity", "checkpoint": None}
    write(folder / "guard.jsonl", [event | {"sentence": f"samples have become alike {HOSTILE}", "best": None}])
    for step in (250, 500, 750, 1000):
        for kind in ("ema", "live"):
            (folder / "samples").mkdir(exist_ok=True)
            grid = np.random.default_rng(step).integers(0, 256, (120, 160, 3), dtype=np.uint8)
            save_png(epath.Path(folder / "samples" / f"{step:08d}_{kind}.png"), grid)
    for step, distance in ((500, 40.0), (1000, 25.0)):
        scores = {"frechet_distance": distance, "kernel_distance": distance / 100, "real_frechet_distance": 3.0}
        record = results.record(
            Subject(f"run {HOSTILE}", str(step), step), OTHER, ("fid",), Results(scores, {}, "real")
        )
        results.append(epath.Path(folder / results.SCORES), record)
    return folder


def write(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
