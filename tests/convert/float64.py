"""Repeat recordings in float64: `python -m tests.convert.float64 [FILE ...]`, by default the recorded training runs.

The recordings are float32, and store the distance of the peer's own float64 run from each (`max_abs_diff_f32_vs_f64`). If our
arithmetic is the same, our float64 run has the same distance. Our code says float32 in many places, so this process loads it
with those words replaced.
"""

import importlib.abc
import importlib.machinery
import json
import pathlib
import sys

import jax


class Float64Loader(importlib.machinery.SourceFileLoader):
    def get_code(self, fullname):
        source = self.get_data(self.path).replace(b"np.float32", b"np.float64").replace(b'"float32"', b'"float64"')
        return compile(source, self.path, "exec")


class Float64Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname, path, target=None):
        spec = importlib.machinery.PathFinder.find_spec(fullname, path) if fullname.startswith("biggan_jax") else None
        if spec and spec.origin and spec.origin.endswith(".py"):
            spec.loader = Float64Loader(fullname, spec.origin)
        return spec


def main(files):
    jax.config.update("jax_enable_x64", True)
    sys.meta_path.insert(0, Float64Finder())
    from tests.convert import parity

    if files:
        print(json.dumps({file: [list(row) for row in parity.compare(pathlib.Path(file))[0]] for file in files}))
        return
    report = {}
    for name in parity.training_runs():
        _, meta = parity.load(parity.fixtures(f"{name}_after*.npz")[-1])
        theirs, ours = meta["max_abs_diff_f32_vs_f64"], parity.training_errors(name).distances
        report[name] = {what: [*theirs[what], value] for what, value in ours.items() if what in theirs}
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main(sys.argv[1:])
