"""Compare the two forms of StyleGAN2's modulated convolutions by the TPU compiler's cycles: results/modulated_forms.json.

    python benchmarks/modulated_forms.py [--config=modern/stylegan2_paper256] [--topology=v5e:1x1] [--images=4]

Each layer of the config's G is compiled alone, for one chip, with the options of a training step, forward with the gradients to its
kernel, its input and w. No TPU is needed, only its compiler.
"""

import argparse
import json
import pathlib

import jax
import jax.numpy as jnp

from biggan_jax import partitioning, sharding
from biggan_jax.config.loading import load
from biggan_jax.layers.modulated import ModulatedConv
from biggan_jax.models.stylegan2 import Stage, stages_of
from biggan_jax.plan import hlo, target

RESULTS = pathlib.Path(__file__).parent / "results" / "modulated_forms.json"


def cycles(
    stage: Stage, channels: int, dim_w: int, images: int, device: jax.Device, *, up: bool, per_sample: bool
) -> int:
    """Return the cycles of the layer of `stage` whose input has so many channels, and half the size if `up`."""
    layer = ModulatedConv(stage.channels, up=up, per_sample=per_sample)
    one = jax.sharding.SingleDeviceSharding(device)
    of = lambda shape, dtype: jax.ShapeDtypeStruct(shape, dtype, sharding=one)
    size = (stage.height >> up, stage.width >> up)
    x, w = of((images, *size, channels), stage.dtype), of((images, dim_w), jnp.float32)
    y = of((images, stage.height, stage.width, stage.channels), stage.dtype)
    shapes = jax.eval_shape(lambda x, w: layer.init(jax.random.key(0), x, w), x, w)
    variables = jax.tree.map(lambda leaf: of(leaf.shape, leaf.dtype), shapes)

    def with_gradients(variables, x, w, g):
        y, back = jax.vjp(layer.apply, variables, x, w)
        return y, back(g)

    options = partitioning.compiler_options(sharding.make_mesh([device]))
    return hlo.cycles(jax.jit(with_gradients).lower(variables, x, w, y).compile(options).as_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--config", default="modern/stylegan2_paper256")
    parser.add_argument("--topology", default="v5e:1x1")
    parser.add_argument("--images", type=int, default=4, help="images of a chip")
    options = parser.parse_args()
    config, device = load(options.config), target.tpu_devices(options.topology)[0]
    found: dict = {"config": options.config, "topology": options.topology, "images": options.images, "layers": {}}
    channels = 0
    for stage in stages_of(config, "g"):
        for up in (True, False) if channels else (False,):
            name = f"{stage.name}{'_up' if up else ''}"
            given = (stage, channels or stage.channels, config.model.dim_w, options.images, device)
            own = {form: cycles(*given, up=up, per_sample=form == "per_sample") for form in ("scaled", "per_sample")}
            found["layers"][name] = own
            print(name, own, flush=True)
            channels = stage.channels
    found["all"] = {form: sum(layer[form] for layer in found["layers"].values()) for form in ("scaled", "per_sample")}
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")
    print(found["all"])


if __name__ == "__main__":
    main()
