"""Train the networks of a checkout of BigGAN-PyTorch on arrays, on CPU, and write samples of its averaged G.

    PYTHON benchmarks/train_biggan_pytorch.py --peer=DIR --data=digits.npz --out=DIR --steps=300,600 [its own flags]

against_biggan_pytorch.py calls it, with a Python that has torch and numpy. Networks, losses, training function, average and
standing statistics are those of the checkout. Here are only the loop over batches and the files: its own loop needs a GPU.
"""

import argparse
import pathlib

import numpy as np
import torch
from biggan_pytorch import average_of, open_networks, training_function
from torch.utils.data import DataLoader, TensorDataset

STANDING_BATCH = 64  # Latents per pass of standing statistics, as in biggan_jax.sampling.


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peer", type=pathlib.Path, required=True, help="a checkout of ajbrock/BigGAN-PyTorch")
    parser.add_argument("--data", type=pathlib.Path, required=True, help=".npz of arr_0 uint8 [N, H, H, 3] and y [N]")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder of the samples, STEP.npz")
    parser.add_argument("--steps", required=True, help="steps after which samples are written; the last ends the run")
    parser.add_argument("--samples", type=int, default=2000)
    options, flags = parser.parse_known_args()
    train(options, flags)


def train(options: argparse.Namespace, flags: list[str]) -> None:
    arrays, checkpoints = np.load(options.data), [int(step) for step in options.steps.split(",")]
    x = torch.from_numpy(arrays["arr_0"]).permute(0, 3, 1, 2).contiguous().float() / 127.5 - 1
    y = torch.from_numpy(arrays["y"]).long()
    opened = open_networks(options.peer, flags, {"resolution": x.shape[-1], "n_classes": int(y.max()) + 1})
    G, D, config = opened.G, opened.D, opened.config
    average, ema = average_of(opened, config["ema_decay"], config["ema_start"])
    latents = opened.utils.prepare_z_y(config["batch_size"], G.dim_z, config["n_classes"], device="cpu")
    state = {"itr": 0}
    saved = options.out / "state.pt"
    parts = {"G": G, "D": D, "average": average, "G_optim": G.optim, "D_optim": D.optim}
    if saved.exists():
        loaded = torch.load(saved)
        state["itr"] = loaded["itr"]
        for name, part in parts.items():
            part.load_state_dict(loaded[name])
        torch.set_rng_state(loaded["rng"])
    step = training_function(opened, latents, ema, state)

    options.out.mkdir(parents=True, exist_ok=True)
    batch = config["batch_size"] * config["num_D_steps"] * config["num_D_accumulations"]
    loader = DataLoader(TensorDataset(x, y), batch, shuffle=True, drop_last=True)
    # A resumed run begins another epoch, so it sees other batches than one without interruption.
    while state["itr"] < checkpoints[-1]:
        for real in loader:
            state["itr"] += 1
            losses = step(*real)
            if state["itr"] % 100 == 0:
                print(state["itr"], {name: round(value, 3) for name, value in losses.items()}, flush=True)
            if state["itr"] in checkpoints:
                images, labels = sample(opened.utils, average, config, options.samples)
                np.savez(options.out / f"{state['itr']}.npz", arr_0=images, y=labels)
                save(saved, {name: part.state_dict() for name, part in parts.items()} | state)
            if state["itr"] == checkpoints[-1]:
                break


def save(path: pathlib.Path, state: dict) -> None:
    """Write the state of training, with that of random numbers; a crash meanwhile leaves the old file."""
    torch.save(state | {"rng": torch.get_rng_state()}, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


@torch.no_grad()
def sample(utils, G: torch.nn.Module, config: dict, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return `count` images, uint8 [N, H, H, 3], and their labels, as many of each class, with standing statistics."""
    latents = utils.prepare_z_y(STANDING_BATCH, G.dim_z, config["n_classes"], device="cpu")
    utils.accumulate_standing_stats(G, *latents, config["n_classes"], config["num_standing_accumulations"])
    y = torch.arange(count) % config["n_classes"]
    z = torch.randn(count, G.dim_z)
    images = torch.cat(
        [G(z, G.shared(y)) for z, y in zip(z.split(STANDING_BATCH), y.split(STANDING_BATCH), strict=True)]
    )
    pixels = ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).numpy(), y.numpy()


if __name__ == "__main__":
    main()
