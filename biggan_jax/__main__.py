"""List the commands: `python -m biggan_jax`."""

from biggan_jax.runtime import startup

COMMANDS = {
    "biggan-train": ("biggan_jax.main", "Train a GAN, or resume a training run."),
    "biggan-sample": ("biggan_jax.sample", "Draw images from a checkpoint: a grid as .png, or arrays as .npz."),
    "biggan-translate": ("biggan_jax.translate", "Translate pictures with a trained CycleGAN or pix2pix."),
    "biggan-evaluate": (
        "biggan_jax.evaluate",
        "Compute FID, IS, KID, precision, recall and more, of a checkpoint or a file.",
    ),
    "biggan-demo": ("biggan_jax.demo", "Train on real digits in minutes, draw samples, evaluate them."),
    "biggan-prepare": (
        "biggan_jax.data.prepare",
        "Convert a folder, ImageNet or TFRecords to a data set for training.",
    ),
    "biggan-sheets": (
        "biggan_jax.tools.grids",
        "Draw diagnostic grids: interpolations, truncations, classes, neighbours.",
    ),
    "biggan-edit": ("biggan_jax.tools.edit", "Mix classes, find and follow latent directions, invert a picture."),
    "biggan-dream": ("biggan_jax.tools.dream", "Deep Dream: exaggerate what a layer of a network sees in a picture."),
    "biggan-export": (
        "biggan_jax.tools.export",
        "Write samples as a folder or a data set, a model to hand on, or its program.",
    ),
    "biggan-explore": ("biggan_jax.tools.app", "Serve a local page that draws from a checkpoint."),
    "biggan-report": (
        "biggan_jax.tools.report",
        "Describe a run in one HTML file: curves, samples, scores, diagnostics, config.",
    ),
    "biggan-stability": ("biggan_jax.stability", "Plot and explain a run's diagnostics; tell whether it is healthy."),
    "biggan-plan": ("biggan_jax.plan", "Compile a training step for a TPU slice: memory, time, collectives."),
    "biggan-convert": (
        "biggan_jax.convert",
        "Convert weights of other projects, in and out; change a model's classes.",
    ),
    "biggan-checkpoint": ("biggan_jax.checkpoint", "Compare two checkpoints, or verify one."),
    "biggan-config": ("biggan_jax.config", "List, show and compare configs."),
    "biggan-validate": (
        "biggan_jax.data.validate",
        "Read a prepared data set again and describe it.",
    ),
}
"""Command to (module, what it does)."""


def run() -> None:
    """Print each command and its module with one line on what it does."""
    width = max(map(len, COMMANDS))
    print("Commands of biggan_jax; each has --help. Every one also runs as python -m MODULE.\n")
    for command, (module, purpose) in COMMANDS.items():
        print(f"  {command:{width}}  {purpose}")
        print(f"  {'':{width}}  python -m {module}")


if __name__ == "__main__":
    with startup.ends_with_its_reader():
        run()
