"""The model card of an exported model: what it is, what was measured and how, and how to load it."""

import json

import jax
import ml_collections

from biggan_jax import config as configs
from biggan_jax.checkpoint import TrainedGenerator
from biggan_jax.config.loading import presets
from biggan_jax.evaluation import results
from biggan_jax.evaluation.cache import hash_of_tree
from biggan_jax.types import UserError

MOST = 8  # Keys in which a config may differ from the preset that its card names.
OF_A_RUN = (
    "seed",
    "data.dir",
    "checkpoint_",
    "log_every",
    "sample_every",
    "profile_steps",
    "stability.",
    "score.",
    "wandb_",
)
"""Keys, or their beginnings, that do not change a model in its kind."""


def card(trained: TrainedGenerator, name: str, class_names: tuple[str, ...] = ()) -> str:
    """Return the card as Markdown. Scores are those in the run's scores.jsonl of exactly these weights.

    name: of the model, its title.
    """
    gan = trained.gan
    weights = "live, as they are trained" if trained.live else "averaged over the steps of training"
    parameters = sum(array.size for array in jax.tree.leaves(trained.params))
    rows = {
        "family": f"`{trained.config.model.family}`",
        "preset": preset(trained.config),
        "samples": shape_of(trained),
        "conditioned on": condition_of(trained, class_names),
        "latents": f"z of {gan.dim_z} entries, prior `{gan.prior}`",
        "parameters of G": f"{parameters:,}",
        "weights": weights,
        "step": f"{trained.step:,} of {trained.config.num_steps:,}, batch size {trained.config.batch_size}",
        "training data": f"`data.name={trained.config.data.name}`",
    }
    table = "\n".join(f"| {what} | {value} |" for what, value in rows.items())
    measured = scores(trained)
    return f"""---
license:
library_name: biggan_jax
tags: [gan, jax, flax, {trained.config.model.family}]
---

# {name}

Licence: *not chosen yet; fill in this line, and `license` above.*

| | |
|---|---|
{table}

## Load

```python
import biggan_jax

sampler = biggan_jax.load("FOLDER")  # This folder, or hf://OWNER/NAME.
images = sampler.images(sampler.latents(8, seed=0), {example_labels(trained)})
```

From the command line: `biggan-sample --checkpoint=FOLDER --out=grid.png`. `SHA256SUMS` has the sums of the weights and
the config, which are checked whenever the model is loaded; this card is not among them.

## Scores

{measured or "Not measured."}

## Intended use, data, limits

*Fill in: what the model is for, what it must not be used for, whom and what its training data show, known errors.*
"""


def preset(config: ml_collections.ConfigDict) -> str:
    """Name the preset that the config differs least from, with the keys that differ; say so if none is near."""
    best: tuple[str, dict] | None = None
    for name in presets():
        try:
            other = configs.load(name)
        except UserError:  # It takes an argument.
            continue
        if other.model.family != config.model.family:
            continue
        changed = configs.differences(other.to_dict(), config.to_dict())
        changed = {key: value for key, (_, value) in changed.items() if not key.startswith(OF_A_RUN)}
        if best is None or len(changed) < len(best[1]):
            best = name, changed
    if best is None or len(best[1]) > MOST:
        return "none: a config of its own"
    name, changed = best
    but = ", ".join(f"`{key}={json.dumps(value)}`" for key, value in changed.items())
    return f"`{name}`" + (f", but {but}" if but else "")


def shape_of(trained: TrainedGenerator) -> str:
    shape = trained.gan.image_shape
    if len(shape) == 1:
        return f"vectors of {shape[0]} numbers"
    return f"images of {shape[0]} x {shape[1]} pixels, {shape[2]} channel{'s' * (shape[2] != 1)}"


def condition_of(trained: TrainedGenerator, class_names: tuple[str, ...]) -> str:
    condition = trained.gan.condition
    if condition.kind == "vector":
        return f"{condition.size} real numbers"
    if condition.kind == "text":
        return f"texts of up to {condition.size} bytes"
    if condition.kind != "classes":
        return "nothing"
    shown = ", ".join([*class_names[:10], *["..."][: len(class_names) > 10]])
    return f"{condition.size:,} classes" + (f": {shown}" if shown else "")


def example_labels(trained: TrainedGenerator) -> str:
    """Return the labels of eight samples, as Python."""
    if trained.gan.condition.kind == "vector":
        return f"numpy.zeros((8, {trained.gan.condition.size}))"
    if trained.gan.condition.kind == "text":
        return '["a few words"] * 8'
    return str([i % max(trained.gan.num_classes, 1) for i in range(8)])


def scores(trained: TrainedGenerator) -> str:
    """Return the tables of scores of these weights, each with its protocol; "" if none is stored."""
    content = hash_of_tree({"params": trained.params, "stats": trained.stats})
    records = [r for r in results.read(trained.workdir / results.SCORES) if r["content"] == content]
    return results.table(records)
