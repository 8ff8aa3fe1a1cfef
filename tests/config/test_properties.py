"""Any config is accepted and builds, or is refused in one sentence; see tests/properties.py."""

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biggan_jax import config as configs
from biggan_jax.config import loading
from biggan_jax.models import build_gan
from biggan_jax.state import init_shapes
from biggan_jax.types import UserError
from tests import properties
from tests.conftest import tiny_config

DEFAULTS = configs.flatten(configs.base().to_dict())

WORDS = [
    *{v for v in DEFAULTS.values() if isinstance(v, str)},
    *(name for key in configs.table("biggan").values() for name in key.one_of),
    "biggan_deep",
    "cutout",
]
WORDS += ["normal*2", "normal|bernoulli", "1:2", "colour,translation", "²:³", "wasserstein", "xavier"]

WHOLE = st.one_of(st.sampled_from([-1, 0, 1, 2, 4, 8, 12, 16, 32, 64, 120, 2**31]), st.integers())
OF_TYPE = {
    bool: st.booleans(),
    int: WHOLE,
    float: st.one_of(st.floats(), st.sampled_from([0.0, 0.5, 1.0, -1.0, 1e-300])),
    str: st.one_of(st.sampled_from(WORDS), st.text(max_size=12)),
    tuple: st.lists(st.one_of(WHOLE, st.sampled_from(WORDS)), max_size=3).map(tuple),
}

KEYS = st.text(string.ascii_lowercase, min_size=1, max_size=4)

ANYTHING = st.recursive(
    st.one_of(st.none(), *[values for kind, values in OF_TYPE.items() if kind is not tuple]),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=5,
)


@st.composite
def changes(draw, any_type=False):
    """Draw {key: value} of a few keys."""
    keys = draw(st.lists(st.sampled_from([*DEFAULTS]), min_size=1, max_size=4, unique=True))
    return {key: draw(ANYTHING if any_type else OF_TYPE[type(DEFAULTS[key])]) for key in keys}


def changed(values):
    """Return the tiny config with these values, of any type, as a config file may set them."""
    c = tiny_config()
    with c.ignore_type():
        c.update_from_flattened_dict(values)
    return c


def sentence(error):
    text = str(error)
    assert 0 < len(text) < 600 and "\n" not in text, text
    return text


def passes(config):
    try:
        configs.validate(config)
    except UserError as error:
        sentence(error)
        return False
    return True


@given(changes())
def test_values_of_the_right_types_build_or_are_refused(values):
    c = changed(values)
    if not passes(c):
        return
    try:
        build_gan(c)
    except UserError as error:
        sentence(error)


@pytest.mark.slow
@given(changes())
def test_a_gan_that_is_built_has_shapes(values):
    c = changed({key: value for key, value in values.items() if key.startswith("model.")})
    if passes(c):
        try:
            gan = build_gan(c)
        except UserError:
            return
        init_shapes(gan)


@given(changes(any_type=True))
def test_values_of_any_type_are_accepted_or_refused(values):
    passes(changed(values))


@given(changes())
def test_json_and_back_is_the_identity(values):
    c = changed(values)
    if passes(c):
        again = configs.from_plain(json.loads(configs.to_json(c)), "FILE")
        assert again.to_dict() == c.to_dict()
        assert {k: type(v) for k, v in configs.flatten(again.to_dict()).items()} == {
            k: type(v) for k, v in DEFAULTS.items()
        }
        assert configs.differences(c.to_dict(), again.to_dict()) == {}


def dotted(config):
    return configs.flatten(config.to_dict())


@given(changes(), st.data())
def test_a_file_of_the_differences_gives_the_config_back(values, data):
    c = changed(values)
    if not passes(c):
        return
    given_ = {}
    for key, (_, value) in configs.differences(configs.base().to_dict(), c.to_dict()).items():
        section, dot, name = key.rpartition(".")
        if dot and data.draw(st.booleans()):
            given_.setdefault(section, {})[name] = value
        else:
            given_[key] = value
    assert configs.from_plain(loading.parse(json.dumps(given_), "FILE"), "FILE").to_dict() == c.to_dict()


@given(changes(any_type=True))
def test_any_json_is_a_config_or_refused(values):
    try:
        c = configs.from_plain(loading.parse(json.dumps(values), "FILE"), "FILE")
    except UserError as error:
        assert sentence(error).startswith(("FILE", "each of FILE"))
        return
    assert {key: type(value) for key, value in dotted(c).items()} == {k: type(v) for k, v in DEFAULTS.items()}


@given(
    st.one_of(
        st.binary(),
        st.text(string.printable).map(str.encode),
        properties.damaged([configs.to_json(configs.base()).encode()]),
    )
)
def test_any_bytes_are_a_config_or_refused(raw):
    try:
        configs.from_plain(loading.parse(raw, "FILE"), "FILE")
    except UserError as error:
        sentence(error)


@given(changes(), changes())
def test_differences_are_the_keys_whose_values_differ(one, other):
    a, b = changed(one), changed(other)
    if not (passes(a) and passes(b)):
        return
    found = configs.differences(a.to_dict(), b.to_dict())
    assert found.keys() == {key for key in DEFAULTS if dotted(a)[key] != dotted(b)[key]}
    assert configs.differences(b.to_dict(), a.to_dict()) == {key: (y, x) for key, (x, y) in found.items()}


@given(
    st.recursive(
        st.dictionaries(KEYS, st.integers(), min_size=1, max_size=4),
        lambda inner: st.dictionaries(KEYS, inner, min_size=1, max_size=3),
    )
)
def test_flattening_loses_nothing(tree):
    found = {}
    for key, value in configs.flatten(tree).items():
        *path, last = key.split(".")
        at = found
        for name in path:
            at = at.setdefault(name, {})
        at[last] = value
    assert found == tree
