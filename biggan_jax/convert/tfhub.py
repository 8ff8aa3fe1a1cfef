"""Variable names, shapes and files of TF-Hub's BigGAN and BigGAN-deep generators (deepmind/biggan-128, biggan-deep-128, ...).

Their conventions: the module's folder is a SavedModel, whose variables have the live and the averaged weights (w/ema_b999900, in
BigGAN-deep w/ema_0.9999), one u0 for both, and batch-norm statistics of truncation 1; those of 51 truncations are constants of
its graph. Arrays are channels last, as here; conditions are [z, class embedding].
"""

import logging
import re

import ml_collections
import numpy as np
from etils import epath
from flax import traverse_util

from biggan_jax.checkpoint import Extras
from biggan_jax.convert import files, imported, tables, tf_checkpoint, tf_graph
from biggan_jax.convert.imported import Imported
from biggan_jax.convert.tables import Arrays, Entry, Network, Path
from biggan_jax.models import build_gan
from biggan_jax.models.tables import generator_sizes
from biggan_jax.types import UserError

logger = logging.getLogger(__name__)

RESOLUTIONS = (128, 256, 512)
EPS = 1e-4  # Of batch norm and of spectral norm, in the graphs of these modules.
FAR = 1e-3  # The largest distance of two statistics that are the same.

LEAVES = {"kernel": "w", "bias": "b", "embedding": "w", "mean": "accumulated_mean", "var": "accumulated_var"}
INNER = {"conv_skip": "conv_sc", "o": "o_conv"}
GAINS = {"biggan": {"gain": "gamma", "offset": "beta"}, "biggan_deep": {"gain": "scale", "offset": "offset"}}


def read(path: epath.Path, *, bn_eps: float | None = None, sn_eps: float | None = None, suffix: str = "") -> Imported:
    """Read a module's folder, its variables.index, or an .npz of the variables by name.

    The average is imported, as the weights of G and of its average: the module's images are the average's.
    """
    arrays, averaged = canonical(_variables(path))
    found = imported.explained(f"{path} is not a generator of BigGAN from TF-Hub", infer, arrays)
    config = imported.base_config()
    config.model.update(bn_eps=bn_eps or EPS, spectral_eps=sn_eps or EPS)
    imported.complete(config.model, found)

    network = read_network(arrays, config, f"{path}")
    extras: Extras = {}
    graph = path / "saved_model.pb"
    binned = statistics_of(tf_graph.read(graph), network, config) if path.is_dir() and graph.exists() else None
    if binned is not None:
        extras["binned"] = binned
    _name_differences(f"{path}", averaged, binned, network, eps_given=bool(bn_eps and sn_eps))
    return Imported(config, {"G": network}, extras=extras)


def _variables(path: epath.Path) -> Arrays:
    if path.suffix == ".npz":
        return files.read_arrays(path)
    if path.is_dir():
        for folder in (path, path / "variables"):
            if (folder / "variables.index").exists():
                return tf_checkpoint.read(folder / "variables")
        raise UserError(f"{path} has no variables/variables.index: give the folder of an unpacked module of TF-Hub")
    if path.suffix == ".index":
        return tf_checkpoint.read(path.parent / path.stem)
    raise UserError(f"{path} is neither a module's folder nor its variables.index; unpack a .tar.gz first")


def canonical(variables: Arrays) -> tuple[Arrays, bool]:
    """Return (arrays under their names without module/, ema and :0, whether they are averages). Vectors lose axes of length 1.

    An array without an average, such as u0, is kept; live weights beside averages are left out.
    """
    names = {name: name.removeprefix("module/").removesuffix(":0") for name in variables}
    averages = {name for name in names.values() if re.search(r"/ema_[^/]+$", name)}
    found: Arrays = {}
    for there, name in sorted(
        names.items(), key=lambda pair: pair[1] in averages
    ):  # Averages last: they replace live weights.
        name = re.sub(r"/ema_[^/]+$", "", name)
        array = variables[there]
        found[name] = array if name.endswith("/w") else array.reshape(-1)
    return found, bool(averages)


def infer(arrays: Arrays) -> dict:
    """Infer keys of config.model from the shapes. Call by `imported.explained`."""
    shapes = {name: array.shape for name, array in arrays.items()}
    deep = "Generator/GenZ/G_linear/w" in shapes
    blocks = 0
    while f"Generator/{_numbered('GBlock', blocks)}/conv0/w" in shapes:
        blocks += 1
    widths = [shapes[f"Generator/{_numbered('GBlock', i)}/conv0/w"][2] for i in range(blocks)]
    widths.append(shapes[f"Generator/{'conv_to_rgb' if deep else 'conv_2d'}/w"][2])
    resolution, depth, ch = imported.match_widths(widths, imported.generator_widths, RESOLUTIONS, [2] if deep else [1])
    num_classes, shared_dim = shapes["linear/w"]
    condition = shapes[f"Generator/GBlock/{'BatchNorm/scale' if deep else 'HyperBN/gamma'}/w"][0] - shared_dim
    return {
        "family": "biggan_deep" if deep else "biggan",
        "resolution": resolution,
        "g_ch": ch,
        "num_classes": num_classes,
        "shared_dim": shared_dim,
        "dim_z": condition if deep else condition * (blocks + 1),
        "g_attention": _attention(shapes, widths[depth::depth], resolution),
        "spectral_eval": "stored",
    } | ({"depth": depth, "pad_rgb": True} if deep else {})


def _attention(shapes: dict[str, tuple[int, ...]], outputs: list[int], resolution: int) -> tuple[int, ...]:
    """Return the size of the maps with attention: those of the only stage with its channels. outputs: channels by stage."""
    if "Generator/attention/theta/w" not in shapes:
        return ()
    channels = shapes["Generator/attention/theta/w"][2]
    stages = [stage for stage, width in enumerate(outputs) if width == channels]
    if len(stages) != 1:
        raise UserError(f"its attention has {channels} channels, which is not the width of one stage: {outputs}")
    return (generator_sizes(resolution)[stages[0]],)


def read_network(arrays: Arrays, config: ml_collections.ConfigDict, name: str) -> Network:
    """Convert G, with u and v as the module's graph computes them from u0."""
    shapes = dict(imported.shapes_of(build_gan(config))["G"])
    shapes["spectral"] = {"u": shapes["spectral"]["u"]}
    expected = {entry.there for entry in tables.table(shapes, entry_of(config.model))}
    network = tables.to_here(arrays, shapes, entry_of(config.model), name, lambda there: there not in expected)
    unknown = [there for there in arrays if there not in expected and not is_foreign(there)]
    if unknown:
        logger.warning("%s: %d variables have no place here, such as %s", name, len(unknown), unknown[0])
    vectors = vectors_at_run_time(network["params"], network["spectral"]["u"], config.model.spectral_eps)
    return {**network, "spectral": vectors}


def is_foreign(name: str) -> bool:
    """Return whether the variable is not needed: further singular vectors, and counts of batches."""
    return re.search(r"/u[1-9]$|/accumulation_counter$|(^|/)global_step$|/update_accus$", name) is not None


def vectors_at_run_time(params: Network, starts: Network, eps: float) -> Network:
    """Return {u, v} so that v W u is the sigma by which the module divides W: one power step from u0, with its eps.

    The module divides vectors by sqrt(|x|^2 + eps), so u and v are a little shorter than 1.
    """
    weights = traverse_util.flatten_dict(params)
    unit = lambda x: x / np.sqrt(np.square(x).sum() + eps)
    us, vs = {}, {}
    for path, start in traverse_util.flatten_dict(starts).items():
        matrix = weights[path].reshape(-1, weights[path].shape[-1]).astype(np.float64)
        v = unit(matrix @ start)
        us[path], vs[path] = unit(v @ matrix).astype(np.float32), v.astype(np.float32)
    return {"u": traverse_util.unflatten_dict(us), "v": traverse_util.unflatten_dict(vs)}


def entry_of(model: ml_collections.ConfigDict):
    """Return the function from (path, shape) of a leaf of G to its Entry."""
    deep = model.family == "biggan_deep"
    top = {"linear": "GenZ/G_linear" if deep else "G_Z/G_linear", "conv_out": "conv_to_rgb" if deep else "conv_2d"}

    def scope_of(scope: str, statistics: bool) -> str:
        kind, *numbers = scope.split("_")
        if kind == "block":
            stage, j = int(numbers[0]), int(numbers[1]) if deep else 0
            return f"Generator/{_numbered('GBlock', stage * model.depth + j if deep else stage)}"
        if kind == "attention":
            return "Generator/attention"
        if scope == "bn_out":
            return "Generator/" + ("BatchNorm" if deep else "ScaledCrossReplicaBN" + "bn" * statistics)
        return "linear" if scope == "shared" else f"Generator/{top[scope]}"

    def inner(scope: str, statistics: bool) -> str:
        kind, _, number = scope.partition("_")
        if kind == "bn":
            name = "BatchNorm" if deep else "CrossReplicaBN" if statistics else "HyperBN"
            return _numbered(name, int(number) - 1)
        return f"conv{int(number) - 1}" if kind == "conv" and number.isdigit() else INNER.get(scope, scope)

    def entry(path: Path, shape: tuple[int, ...]) -> Entry:
        kind, *scopes, leaf = path
        statistics, gains = kind == "batch_stats", GAINS[model.family]
        if kind == "spectral":  # ('spectral', 'u', ..., 'kernel')
            scopes, leaf = scopes[1:], "u0"
        inside = [gains.get(scope) or inner(scope, statistics) for scope in scopes[1:]]
        last = gains.get(leaf) or LEAVES.get(leaf, leaf)
        there = "/".join([scope_of(scopes[0], statistics), *inside, last])
        return Entry(there, path, _layout(scopes, leaf, shape, model, deep))

    return entry


def _numbered(name: str, index: int) -> str:
    """TensorFlow's names of scopes: GBlock, GBlock_1, GBlock_2, ..."""
    return f"{name}_{index}" if index else name


def _layout(scopes: list[str], leaf: str, shape: tuple[int, ...], model: ml_collections.ConfigDict, deep: bool):
    if leaf == "gamma":
        return tables.ROW
    if leaf == "kernel" and len(shape) == 2:
        z = shape[0] - model.shared_dim
        # The first layer of BigGAN sees no class.
        return tables.rotated(z, axis=0) if deep or scopes[-1] != "linear" else tables.SAME
    return tables.SAME


def statistics_of(
    nodes: dict[str, tf_graph.Node], network: Network, config: ml_collections.ConfigDict
) -> Network | None:
    """Return batch-norm statistics by truncation, {mean, var} [bins, C] in a tree like `batch_stats`; None if there are none.

    They are the stacked constants `stack`, `stack_1`, ... of the graph: means and variances in turn, in the order of the layers.
    """
    numbered = {}
    for name in nodes:
        if match := re.fullmatch(r"stack(?:_(\d+))?", name):
            numbered[int(match[1] or 0)] = tf_graph.stacked(nodes, name)
    stacks = [numbered[i] for i in sorted(numbered)]
    rows = [stack for stack in stacks if stack is not None and stack.ndim == 2 and len(stack) > 1]
    paths = sorted(traverse_util.flatten_dict(network["batch_stats"]), key=_in_graph)
    widths = [traverse_util.flatten_dict(network["batch_stats"])[path].shape for path in paths]
    if [row.shape[1:] for row in rows] != widths or len({len(row) for row in rows}) != 1:
        return None
    if any(path[-1] == "var" and (row < 0).any() for path, row in zip(paths, rows, strict=True)):
        return None
    return traverse_util.unflatten_dict(dict(zip(paths, rows, strict=True)))


def _in_graph(path: Path) -> tuple:
    """The place of a statistic in the order in which the graph computes its layers; the last batch norm comes last."""
    numbers = [int(number) for scope in path for number in re.findall(r"\d+", scope)]
    return path[0] == "bn_out", numbers, path[-1] == "var"


def _name_differences(where: str, averaged: bool, binned, network: Network, *, eps_given: bool) -> None:
    """Log what is assumed of the module, and what is missing."""
    if not eps_given:
        logger.warning("%s: eps of batch norm and of spectral norm are %g, as in TF-Hub's graphs", where, EPS)
    if not averaged:
        logger.warning("%s has no averaged weights (ema): the live ones are also the average", where)
    if binned is None:
        logger.warning(
            "%s: the graph's statistics for truncations below 1 were not found; there sample with "
            "--statistics=standing, and without truncation with --statistics=running",
            where,
        )
        return
    flat = traverse_util.flatten_dict
    far = [
        "/".join(path)
        for path, rows in flat(binned).items()
        if np.abs(rows[-1] - (own := flat(network["batch_stats"])[path])).max() > FAR * (1 + np.abs(own).max())
    ]
    if far:
        logger.warning("%s: statistics of truncation 1 in graph and variables differ: %s", where, ", ".join(far[:3]))
