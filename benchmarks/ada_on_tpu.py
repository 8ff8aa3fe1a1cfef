"""Count what ADA costs on a TPU, by the compiler's cycles: results/ada_on_tpu.json.

    python benchmarks/ada_on_tpu.py [--topology=v5e:2x2] [--pixels=128] [--images=8]

The pipeline of blit, geometry and colour is compiled alone, forward, as for D's updates, and with the gradient to the images, as
for G's. The compiler has no cycles for the gathers and the scatter of its resampling, which are counted beside. No TPU is needed.
"""

import argparse
import json
import pathlib

import jax
import jax.numpy as jnp

from biggan_jax import sharding
from biggan_jax.augment.ada import Ada
from biggan_jax.plan import hlo, target

RESULTS = pathlib.Path(__file__).parent / "results" / "ada_on_tpu.json"
ADA = Ada((("blit", 1.0), ("geometry", 1.0), ("colour", 1.0)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--topology", default="v5e:2x2")
    parser.add_argument("--pixels", type=int, default=128)
    parser.add_argument("--images", type=int, default=8, help="images of a chip")
    options = parser.parse_args()
    mesh = sharding.make_mesh(target.tpu_devices(options.topology))
    split, whole = sharding.batch_sharding(mesh).spec, sharding.replicated(mesh).spec
    shape = (options.images * mesh.size, options.pixels, options.pixels, 3)
    x = jax.ShapeDtypeStruct(shape, jnp.float32, sharding=sharding.batch_sharding(mesh))
    key = jax.eval_shape(lambda: jax.random.key_data(jax.random.key(0)))
    key = jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=sharding.replicated(mesh))

    def forward(x, key, g):
        return ADA(x, key, 0.5)

    def with_gradient(x, key, g):
        y, back = jax.vjp(lambda x: ADA(x, key, 0.5), x)
        return y, back(g)

    found = {"topology": options.topology, "pixels": options.pixels, "images": options.images}
    for name, function in {"forward": forward, "with_gradient": with_gradient}.items():
        on_each = jax.shard_map(function, mesh=mesh, in_specs=(split, whole, split), out_specs=split)
        text = jax.jit(on_each).lower(x, key, x).compile().as_text()
        cycles = hlo.cycles(text)
        found[name] = {"cycles": cycles, "unestimated": hlo.unestimated(text)}
        print(name, found[name], flush=True)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
