"""TF-Hub's generators in NumPy: the variables of the public modules by name and shape, and what their graphs compute.

Facts of github.com/ajbrock/BigGAN-PyTorch (TFHub/converter.py), github.com/huggingface/pytorch-pretrained-BigGAN
(convert_tf_to_pytorch.py) and issue 14 of the former. The modules themselves are not needed.
"""

import numpy as np

WIDTHS = {
    128: (16, 16, 8, 4, 2, 1),
    256: (16, 16, 8, 8, 4, 2, 1),
    512: (16, 16, 8, 8, 4, 2, 1, 1),
}
ATTENTION = {128: 3, 256: 4, 512: 3}  # BigGAN: the block before it. BigGAN-deep: always the fourth stage's.
EPS = 1e-4
BINS = 51
EMA = {False: "ema_b999900", True: "ema_0.9999"}


def numbered(name, i):
    return f"{name}_{i}" if i else name


def blocks(resolution, ch, deep):
    """(input, output channels, whether it doubles the size) of each block."""
    pairs = [(a * ch, b * ch) for a, b in zip(WIDTHS[resolution], WIDTHS[resolution][1:], strict=False)]
    if not deep:
        return [(a, b, True) for a, b in pairs]
    return [block for a, b in pairs for block in ((a, a, False), (a, b, True))]


def shapes(resolution, *, ch, deep, classes=1000, shared=128, chunk=None):
    """The shapes of a module's variables by name, with live and averaged weights."""
    chunk = chunk or (128 if deep else {128: 20, 256: 20, 512: 16}[resolution])
    first, condition = 4 * 4 * 16 * ch, chunk + shared
    weights, others = {"linear/w": (classes, shared)}, {}

    def normalized(name, *size, bias=True):
        weights[f"{name}/w"] = size
        others.update({f"{name}/u{i}": (1, size[-1]) for i in range(3)})
        if bias:
            weights[f"{name}/b"] = size[-1:]

    def statistics(name, width):
        others[f"{name}/accumulated_mean"] = others[f"{name}/accumulated_var"] = (width,)
        others[f"{name}/accumulation_counter"] = ()

    def norm(name, bn, scale, offset, width):
        normalized(f"{name}/{scale}", condition, width, bias=False)
        normalized(f"{name}/{offset}", condition, width, bias=False)
        statistics(bn, width)

    normalized("Generator/GenZ/G_linear" if deep else "Generator/G_Z/G_linear", condition if deep else chunk, first)
    for i, (a, b, _) in enumerate(blocks(resolution, ch, deep)):
        block = f"Generator/{numbered('GBlock', i)}"
        if deep:
            h = a // 4
            for j, (size, into) in enumerate([((1, 1), (a, h)), ((3, 3), (h, h)), ((3, 3), (h, h)), ((1, 1), (h, b))]):
                norm(
                    f"{block}/{numbered('BatchNorm', j)}",
                    f"{block}/{numbered('BatchNorm', j)}",
                    "scale",
                    "offset",
                    into[0],
                )
                normalized(f"{block}/conv{j}", *size, *into)
        else:
            for j, width in enumerate((a, b)):
                hyper, plain = (f"{block}/{numbered(kind, j)}" for kind in ("HyperBN", "CrossReplicaBN"))
                norm(hyper, plain, "gamma", "beta", width)
            normalized(f"{block}/conv0", 3, 3, a, b)
            normalized(f"{block}/conv1", 3, 3, b, b)
            normalized(f"{block}/conv_sc", 1, 1, a, b)
    c = WIDTHS[resolution][4 if deep else ATTENTION[resolution] + 1] * ch
    for name, a, b in (("theta", c, c // 8), ("phi", c, c // 8), ("g", c, c // 2), ("o_conv", c // 2, c)):
        normalized(f"Generator/attention/{name}", 1, 1, a, b, bias=False)
    weights["Generator/attention/gamma"] = ()
    last = "Generator/BatchNorm" if deep else "Generator/ScaledCrossReplicaBN"
    for name in ("scale", "offset") if deep else ("gamma", "beta"):
        weights[f"{last}/{name}"] = (1, 1, 1, ch)
    statistics(last if deep else f"{last}bn", ch)
    normalized(f"Generator/{'conv_to_rgb' if deep else 'conv_2d'}", 3, 3, ch, ch if deep else 3)
    return {**others, **weights, **{f"{name}/{EMA[deep]}": size for name, size in weights.items()}}


def variables(sizes, seed=0):
    """Random variables of those shapes; variances are positive."""
    rng = np.random.default_rng(seed)
    draw = lambda size: rng.normal(size=size).astype(np.float32)
    positive = lambda name: name.endswith(("_var", "_counter"))
    return {n: np.abs(draw(s)) + np.float32(0.5) if positive(n) else draw(s) for n, s in sizes.items()}


def images(v, z, y, *, resolution, ch, deep, statistics=None):
    """What the graph computes, in float64: images [B, R, R, 3] for z [B, dim_z] and one-hot y. statistics: by order of layers."""
    weight = lambda name: v[f"{name}/{EMA[deep]}"].astype(np.float64)
    unit = lambda x: x / np.sqrt(np.sum(x**2) + EPS)

    def divided(name):
        w = weight(f"{name}/w")
        matrix = w.reshape(-1, w.shape[-1])
        row = unit(v[f"{name}/u0"].astype(np.float64) @ matrix.T)
        column = unit(row @ matrix)
        return w / (row @ matrix @ column.T).item()

    def conv(x, name, bias=True):
        w = divided(name)
        k = w.shape[0] // 2
        padded = np.pad(x, ((0, 0), (k, k), (k, k), (0, 0)))
        taps = [(i, j) for i in range(w.shape[0]) for j in range(w.shape[1])]
        out = sum(padded[:, i : i + x.shape[1], j : j + x.shape[2]] @ w[i, j] for i, j in taps)
        return out + weight(f"{name}/b") if bias else out

    pairs = iter(zip(statistics[::2], statistics[1::2], strict=True)) if statistics else None

    def plain(x, bn):
        mean, var = next(pairs) if pairs else (v[f"{bn}/accumulated_mean"], v[f"{bn}/accumulated_var"])
        return (x - mean) / np.sqrt(var.astype(np.float64) + EPS)

    def norm(x, c, name, bn, scale, offset):
        gain, shift = 1 + c @ divided(f"{name}/{scale}"), c @ divided(f"{name}/{offset}")
        return np.maximum(plain(x, bn) * gain[:, None, None] + shift[:, None, None], 0)

    double = lambda x: x.repeat(2, 1).repeat(2, 2)
    pooled = lambda x: x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2, -1).max((2, 4))

    def attention(x):
        name, flat = "Generator/attention", lambda t: t.reshape(len(t), -1, t.shape[-1])
        theta, phi, g = (conv(x, f"{name}/{part}", bias=False) for part in ("theta", "phi", "g"))
        scores = flat(theta) @ flat(pooled(phi)).transpose(0, 2, 1)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        out = (shares / shares.sum(-1, keepdims=True)) @ flat(pooled(g))
        return x + weight(f"{name}/gamma") * conv(out.reshape(*x.shape[:3], -1), f"{name}/o_conv", bias=False)

    label, layout = y @ weight("linear/w"), blocks(resolution, ch, deep)
    chunks = [np.concatenate([z, label], 1)] * (len(layout) + 1) if deep else np.split(z, len(layout) + 1, axis=1)
    linear = "Generator/GenZ/G_linear" if deep else "Generator/G_Z/G_linear"
    x = (chunks[0] @ divided(linear) + weight(f"{linear}/b")).reshape(len(z), 4, 4, -1)
    for i, (_, out, up) in enumerate(layout):
        block, c = f"Generator/{numbered('GBlock', i)}", chunks[i + 1]
        if deep:
            h = x
            for j in range(4):
                name = f"{block}/{numbered('BatchNorm', j)}"
                h = norm(h, c, name, name, "scale", "offset")
                h = conv(double(h) if up and j == 1 else h, f"{block}/conv{j}")
            skip = x[..., :out]
            x = h + (double(skip) if up else skip)
        else:
            c = np.concatenate([c, label], 1)
            h = conv(
                double(norm(x, c, f"{block}/HyperBN", f"{block}/CrossReplicaBN", "gamma", "beta")), f"{block}/conv0"
            )
            h = conv(norm(h, c, f"{block}/HyperBN_1", f"{block}/CrossReplicaBN_1", "gamma", "beta"), f"{block}/conv1")
            x = h + conv(double(x), f"{block}/conv_sc")
        if i == (7 if deep else ATTENTION[resolution]):
            x = attention(x)
    last, gain, shift = ("BatchNorm", "scale", "offset") if deep else ("ScaledCrossReplicaBN", "gamma", "beta")
    x = plain(x, f"Generator/{last}" if deep else f"Generator/{last}bn")
    x = np.maximum(x * weight(f"Generator/{last}/{gain}") + weight(f"Generator/{last}/{shift}"), 0)
    return np.tanh(conv(x, f"Generator/{'conv_to_rgb' if deep else 'conv_2d'}")[..., :3])


def layer_widths(resolution, ch, deep):
    """Channels of the batch norms in the order of the graph."""
    inner = [w for a, b, _ in blocks(resolution, ch, deep) for w in ((a, a // 4, a // 4, a // 4) if deep else (a, b))]
    return [*inner, ch]
