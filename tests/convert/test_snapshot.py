"""Snapshots are read without running anything in them."""

import collections
import io
import os
import pickle
import sys
import types

import numpy as np
import pytest

from biggan_jax.convert import snapshot
from biggan_jax.types import UserError
from tests.convert.parity import epath


@pytest.fixture
def name(monkeypatch):
    """A function that makes an object one that pickle names as module.name, as if that module were installed."""

    def name(module, last, thing):
        parts = module.split(".")
        for i in range(1, len(parts) + 1):
            path = ".".join(parts[:i])
            if path not in invented:
                invented[path] = types.ModuleType(path)
                monkeypatch.setitem(sys.modules, path, invented[path])
        setattr(invented[module], last, thing)
        thing.__module__, thing.__qualname__, thing.__name__ = module, last, last
        return thing

    invented = {}
    return name


class Call:
    """Pickled as a call."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


class PyTorch:
    """What a pickle of tensors names."""

    def __init__(self, name):
        def never(*args):
            raise AssertionError("only named, never called")

        named = lambda module, last: name(module, last, types.FunctionType(never.__code__, globals(), last))
        self.load_from_bytes = named("torch.storage", "_load_from_bytes")
        self.rebuild_tensor = named("torch._utils", "_rebuild_tensor_v2")
        self.rebuild_parameter = named("torch._utils", "_rebuild_parameter")
        self.float_storage = name("torch", "FloatStorage", type("FloatStorage", (), {}))
        self.name, self.classes = name, {}

    def storage(self, numbers, kind=None, key="0"):
        """A storage, as torch.save writes one in a pickle."""
        file = io.BytesIO()

        class Described(pickle.Pickler):
            def persistent_id(self, what):
                return what.args if isinstance(what, Call) and what.function is None else None

        description = Call(None, "storage", kind or self.float_storage, key, "cpu", len(numbers), None)
        for part in (snapshot.MAGIC, 1001, {"little_endian": True}, description, [key]):
            Described(file, 2).dump(part)
        data = file.getvalue() + len(numbers).to_bytes(8, "little") + np.asarray(numbers, np.float32).tobytes()
        return Call(self.load_from_bytes, data)

    def tensor(self, array, offset=0, shape=None, strides=None):
        array = np.asarray(array, np.float32)
        strides = tuple(s // 4 for s in array.strides) if strides is None else strides
        storage = self.storage(array.ravel())
        none = collections.OrderedDict()
        return Call(self.rebuild_tensor, storage, offset, shape or array.shape, strides, False, none)

    def module(self, where, last, parameters, **attributes):
        """A module of a class of its own, with tensors by name."""
        kind = self.classes.setdefault((where, last), type(last, (), {}))
        instance = self.name(where, last, kind)()
        pairs = {key: Call(self.rebuild_parameter, self.tensor(a), True, {}) for key, a in parameters.items()}
        state = {"_parameters": collections.OrderedDict(pairs), "_buffers": {}, "_modules": {}} | attributes
        instance.__dict__.update(state)
        return instance


@pytest.fixture
def torch(name):
    return PyTorch(name)


def read(tmp_path, content, protocol=4):
    file = tmp_path / "snapshot.pkl"
    file.write_bytes(pickle.dumps(content, protocol))
    return snapshot.read(epath(file))


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_modules_are_read_with_tensors_by_their_names(torch, tmp_path, protocol):
    weight, bias = np.arange(6.0).reshape(2, 3), np.float32([1.5])
    buffers = {"kernel": torch.tensor(bias), "scratch": torch.tensor(bias)}
    inner = torch.module("torch.nn.modules.linear", "Linear", {"weight": weight, "bias": bias})
    own = {"_buffers": buffers, "_modules": {"fc": inner}, "_non_persistent_buffers_set": {"scratch"}, "z_dim": 3}
    found = read(tmp_path, {"G": torch.module("training.networks", "Generator", {}, **own), "n": 7}, protocol)
    arrays = snapshot.arrays(found["G"])
    assert set(arrays) == {"kernel", "fc.weight", "fc.bias"} and found["n"] == 7
    np.testing.assert_array_equal(arrays["fc.weight"], weight)
    assert found["G"].kind == "training.networks.Generator" and found["G"].state["z_dim"] == 3
    assert [inner.kind for inner in snapshot.modules(found["G"])][1] == "torch.nn.modules.linear.Linear"


def test_the_source_in_a_persistent_object_is_not_run(torch, name, tmp_path):
    reconstruct = name("torch_utils.persistence", "_reconstruct_persistent_obj", lambda meta: None)
    state = {"_parameters": {"w": torch.tensor([1.0, 2.0])}, "gain": np.float64(1.5)}
    source = f"open({str(tmp_path / 'ran')!r}, 'w')"
    meta = {"type": "class", "version": 6, "module_src": source, "class_name": "Generator", "state": state}
    G = read(tmp_path, {"G": Call(reconstruct, meta)})["G"]
    assert G.kind == "Generator" and G.state["gain"] == 1.5
    np.testing.assert_array_equal(snapshot.arrays(G)["w"], [1, 2])
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("function", "named"),
    [(os.system, "posix.system"), (eval, "builtins.eval"), (getattr, "builtins.getattr"), (np.load, "numpy.load")],
)
def test_a_pickle_that_would_run_code_is_refused(tmp_path, function, named):
    ran = tmp_path / "ran"
    with pytest.raises(UserError, match=f"is refused: it names {named}, which is neither a network nor a tensor"):
        read(tmp_path, {"G": Call(function, f"touch {ran}")})
    assert not ran.exists()


def test_code_within_a_tensor_is_refused(torch, tmp_path):
    data = pickle.dumps(Call(os.system, f"touch {tmp_path / 'ran'}"), 2)
    with pytest.raises(UserError, match=r"is refused: a tensor of it names posix\.system"):
        read(tmp_path, {"G": Call(torch.load_from_bytes, data)})
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(0, (7,), (1,)), (0, (2,), (6,)), (-1, (2,), (1,)), (5, (2,), (-1,)), (0, (10**9,), (0,)), (9, (0,), (1,))],
)
def test_a_tensor_beyond_its_storage_is_not_read(torch, tmp_path, offset, shape, strides):
    content = {"G": torch.tensor(np.zeros(6), offset, shape, strides)}
    if 0 in shape:
        assert read(tmp_path, content)["G"].shape == shape
    else:
        with pytest.raises(UserError, match="is not a snapshot of networks, or is corrupted"):
            read(tmp_path, content)


def test_a_pickle_cannot_change_what_later_ones_call(tmp_path):
    """A pickle may set attributes of what it names: here __defaults__ of the function that makes tensors."""
    change = pickle.dumps((None, {"__defaults__": (1,)}), 0)[:-1]
    (tmp_path / "x.pkl").write_bytes(b"\x80\x02(dS'G'\nctorch._utils\n_rebuild_tensor_v2\n" + change + b"bs.")
    with pytest.raises(UserError, match="is not a snapshot of networks, or is corrupted") as refused:
        snapshot.read(epath(tmp_path / "x.pkl"))
    assert "a function has no state" in str(refused.value.__cause__)


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        ({"_parameters": 5}, "_parameters of its training.networks.Generator is no dict of names"),
        ({"_buffers": None}, "_buffers of its training.networks.Generator is no dict"),
        ({"_modules": {3: None}}, "_modules of its training.networks.Generator is no dict of names"),
        ({"_non_persistent_buffers_set": 7}, "the names of transient buffers .* are no set"),
    ],
)
def test_a_module_whose_state_is_of_other_types_is_refused(torch, tmp_path, attributes, sentence):
    whole = {"_buffers": {}, "_modules": {}} | attributes
    with pytest.raises(UserError, match=f"is refused: {sentence}"):
        read(tmp_path, {"G": torch.module("training.networks", "Generator", {"w": np.zeros(2)}, **whole)})


@pytest.mark.parametrize("kind", ["a module in itself", "each module twice in the next"])
def test_modules_that_are_no_tree_are_refused(torch, tmp_path, kind):
    last = torch.module("training.networks", "Generator", {})
    if kind == "a module in itself":
        last._modules = {"a": last}
    else:
        for _ in range(40):
            last = torch.module("training.networks", "Generator", {}, _modules={"a": last, "b": last})
    with pytest.raises(UserError, match="is refused: its modules hold each other, or are more than 10,000"):
        read(tmp_path, {"G": last})


def test_what_is_truncated_or_another_file_is_refused_in_a_sentence(torch, tmp_path):
    whole = pickle.dumps({"G": torch.module("R3GAN.Networks", "Generator", {"w": np.zeros(3)})}, 4)
    file = tmp_path / "x.pkl"
    for content in (
        b"",
        b"PK\x03\x04",
        b"\x89PNG\r\n",
        *(whole[:n] for n in range(20, len(whole), 60)),
        pickle.dumps([1]),
    ):
        file.write_bytes(content)
        with pytest.raises(UserError, match=r"x\.pkl is (not a snapshot of networks|refused)"):
            snapshot.read(epath(file))
    with pytest.raises(UserError, match="does not exist"):
        snapshot.read(epath(tmp_path / "y.pkl"))


def test_pytorchs_own_pickles_are_read(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is an extra")
    layers = torch.nn.Linear(3, 2), torch.nn.Conv2d(2, 4, 3, groups=2), torch.nn.BatchNorm2d(4)
    network = torch.nn.Sequential(*layers, torch.nn.Linear(2, 2).bfloat16())
    network[0].weight = torch.nn.Parameter(torch.randn(3, 2).t())
    arrays = snapshot.arrays(read(tmp_path, {"G": network})["G"])
    theirs = network.state_dict()
    assert list(arrays) == list(theirs)
    for name, tensor in theirs.items():
        np.testing.assert_array_equal(
            arrays[name], (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
        )
