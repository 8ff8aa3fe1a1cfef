"""Time training steps of a checkout of BigGAN-PyTorch, StyleGAN2-ADA or R3GAN on CPU, with their own networks and losses.

    PYTHON benchmarks/pytorch_steps.py --peer=stylegan2_ada --code=DIR --batch=16 --warmup=4 --steps=32

steps_against_pytorch.py calls it, with a Python that has torch. Here are only the order of updates, Adam and the average of G, which
their training loops do on a GPU. Prints JSON: seconds of CPU and of a clock a step.
"""

import argparse
import copy
import functools
import json
import pathlib
import sys

import clock
import torch
from biggan_pytorch import average_of, open_networks, training_function


def biggan(batch: int, size: int, ch: int, attention: int):
    """Return a function that makes a step of 2 updates of D and one of G, real and fake images apart, as by default there."""
    changes = {"batch_size": batch, "n_classes": 10, "resolution": size, "G_ch": ch, "D_ch": ch, "num_D_steps": 2}
    changes |= {"G_attn": str(attention), "D_attn": str(attention), "dim_z": 120, "shared_dim": 128, "hier": True}
    changes |= {
        "G_shared": True,
        "ema": True,
        "ema_start": 0,
        "num_epochs": 1,
        "G_nl": "inplace_relu",
        "D_nl": "inplace_relu",
    }
    opened = open_networks(pathlib.Path(sys.path[0]), [], changes)
    _, ema = average_of(opened, 0.999, 0)
    latents = opened.utils.prepare_z_y(batch, opened.G.dim_z, 10, device="cpu")
    made = training_function(opened, latents, ema, {"itr": 0})
    x, y = torch.randn(2 * batch, 3, size, size), torch.arange(2 * batch) % 10
    return lambda i: made(x, y)


def stylegan2_ada(batch: int):
    """Return a function of the step's number that makes a step of a narrow network of 32 pixels, lazily regularised."""
    from training.loss import StyleGAN2Loss
    from training.networks import Discriminator, Generator

    common = {"c_dim": 10, "img_resolution": 32, "img_channels": 3}
    widths = {"channel_base": 1024, "channel_max": 64, "num_fp16_res": 0}
    g = Generator(z_dim=64, w_dim=64, mapping_kwargs={"num_layers": 2}, synthesis_kwargs=widths, **common)
    d = Discriminator(**widths, mapping_kwargs={"num_layers": 2}, epilogue_kwargs={"mbstd_group_size": 4}, **common)
    average = copy.deepcopy(g).eval().requires_grad_(False)
    loss = StyleGAN2Loss("cpu", g.mapping, g.synthesis, d, style_mixing_prob=0.9, r1_gamma=0.1, pl_weight=2)
    g_adam, d_adam = (torch.optim.Adam(net.parameters(), lr=2.5e-3, betas=(0.0, 0.99)) for net in (g, d))
    x, y = torch.rand(batch, 3, 32, 32) * 2 - 1, torch.eye(10)[torch.arange(batch) % 10]

    def phase(name: str, net: torch.nn.Module, adam: torch.optim.Optimizer, every: int) -> None:
        other = d if net is g else g
        other.requires_grad_(False)
        net.requires_grad_(True)
        adam.zero_grad(set_to_none=True)
        loss.accumulate_gradients(name, x, y, torch.randn(batch, 64), y, sync=True, gain=every)
        adam.step()

    def step(i: int) -> None:
        phase("Gmain", g, g_adam, 1)
        if i % 4 == 0:
            phase("Greg", g, g_adam, 4)
        phase("Dmain", d, d_adam, 1)
        if i % 16 == 0:
            phase("Dreg", d, d_adam, 16)
        follow(average, g)

    return step


def r3gan(batch: int):
    """Return a function that makes a step of narrow conditional networks of 32 pixels, with R1 and R2 at each."""
    from R3GAN.Networks import Discriminator, Generator
    from R3GAN.Trainer import AdversarialTraining

    widths, groups, blocks = [96, 96, 64, 32], [12, 12, 8, 4], [1, 1, 1, 1]
    condition = {"ConditionDimension": 10, "ConditionEmbeddingDimension": 64}
    g = Generator(64, widths, groups, blocks, 2, **condition)
    d = Discriminator(widths[::-1], groups[::-1], blocks, 2, **condition)
    average = copy.deepcopy(g).eval().requires_grad_(False)
    game = AdversarialTraining(g, d)
    g_adam, d_adam = (torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.0, 0.99)) for net in (g, d))
    x, y = torch.rand(batch, 3, 32, 32) * 2 - 1, torch.eye(10)[torch.arange(batch) % 10]

    def step(i: int) -> None:
        d.requires_grad_(True), g.requires_grad_(False)
        d_adam.zero_grad(set_to_none=True)
        game.AccumulateDiscriminatorGradients(torch.randn(batch, 64), x, y, 0.5)
        d_adam.step()
        d.requires_grad_(False), g.requires_grad_(True)
        g_adam.zero_grad(set_to_none=True)
        game.AccumulateGeneratorGradients(torch.randn(batch, 64), x, y)
        g_adam.step()
        follow(average, g)

    return step


@torch.no_grad()
def follow(average: torch.nn.Module, net: torch.nn.Module, decay: float = 0.99) -> None:
    """Move the average's weights towards the network's."""
    for mean, value in zip(average.parameters(), net.parameters(), strict=True):
        mean.lerp_(value, 1 - decay)


PEERS = {
    "biggan32": functools.partial(biggan, size=32, ch=32, attention=0),
    "biggan128": functools.partial(biggan, size=128, ch=16, attention=64),
    "stylegan2_ada": stylegan2_ada,
    "r3gan": r3gan,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peer", choices=PEERS, required=True)
    parser.add_argument("--code", required=True, help="a checkout of the peer")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--warmup", type=int, default=4)
    parser.add_argument("--steps", type=int, default=32)
    options = parser.parse_args()
    sys.path.insert(0, options.code)
    torch.manual_seed(0)
    step = PEERS[options.peer](options.batch)
    for i in range(options.warmup):
        step(i + 1)
    _, wall, cpu = clock.timed(lambda: [step(i) for i in range(options.steps)])
    print(json.dumps({"cpu": cpu / options.steps, "wall": wall / options.steps, "torch": torch.__version__}))


if __name__ == "__main__":
    main()
