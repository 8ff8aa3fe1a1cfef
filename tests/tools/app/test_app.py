"""The HTTP API without a browser: valid links are drawn, invalid ones refused with a reason."""

import base64
import dataclasses
import io
import itertools
import json

import jax
import numpy as np
import pytest
from PIL import Image

from biggan_jax.latents import Truncation
from biggan_jax.sampling import generate, pictures
from biggan_jax.tools.app.studio import MEASURED, Studio, statistics_of
from biggan_jax.tools.app.views import End, View, parse
from biggan_jax.types import UNCONDITIONAL, UserError

pytest.importorskip("starlette")
pytest.importorskip("httpx2")
from starlette.testclient import TestClient

from biggan_jax.tools.app.app import make_app


@pytest.fixture(scope="module")
def studio(trained, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BIGGAN_JAX_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield Studio.from_checkpoint(trained, "resample", None, passes=1)


@pytest.fixture(scope="module")
def client(studio):
    return TestClient(make_app(studio, {"step": 0}), base_url="http://127.0.0.1:8000", raise_server_exceptions=False)


def draw(client, query):
    answer = client.get(f"/api/images?{query}")
    assert answer.status_code == 200, answer.text
    *lines, last = [json.loads(line) for line in answer.text.splitlines()]
    assert last["seconds"] > 0
    return np.stack([np.asarray(Image.open(io.BytesIO(base64.b64decode(line["png"])))) for line in lines])


def arrays(client, query):
    with np.load(io.BytesIO(client.get(f"/api/images.npz?{query}").content), allow_pickle=False) as file:
        return dict(file)


def test_a_link_gives_the_same_pictures_again(client):
    query = "seed=3&class=7&num=6&truncation=0.5"
    first = draw(client, query)
    assert first.shape == (6, 16, 16, 3)
    assert len(np.unique(first, axis=0)) == 6
    np.testing.assert_array_equal(first, draw(client, query))


@pytest.mark.parametrize("change", ["seed=4", "class=8", "truncation=0.5"])
def test_seed_class_and_truncation_each_change_the_picture(client, change):
    query = {"seed": "3", "class": "7"} | dict([change.split("=")])
    changed = draw(client, "num=1&" + "&".join("=".join(pair) for pair in query.items()))
    assert not np.array_equal(draw(client, "num=1&seed=3&class=7"), changed)


def test_images_have_consecutive_seeds(client):
    np.testing.assert_array_equal(draw(client, "seed=3&num=5")[2], draw(client, "seed=5&num=1")[0])


def test_an_image_is_that_of_its_latent_and_statistics(client, trained, studio):
    """At truncation 0.5, for which statistics were measured. Another compiled program may round to the next level."""
    drawn = arrays(client, "seed=3&class=7&num=2&truncation=0.5")
    batch_stats = generate.standing_statistics(
        trained.gan, studio.weights, 0, truncation=Truncation(0.5), passes=1, batch_size=MEASURED
    )
    images = generate.generate(
        trained.gan, studio.weights, {"batch_stats": batch_stats}, drawn["z"], drawn["y"], batch_size=2
    )
    np.testing.assert_allclose(drawn["arr_0"].astype(int), pictures.to_uint8(images), atol=1)


def test_statistics_are_interpolated_between_truncations(studio):
    low, high, between = (jax.tree.leaves(studio.batch_stats.at(t)) for t in (0.5, 1.125, 0.8125))
    for a, b, c in zip(low, high, between, strict=True):
        np.testing.assert_allclose(c, (a + b) / 2, rtol=1e-5, atol=1e-6)  # float32 values near 1.


def test_measured_statistics_are_cached(trained, studio, monkeypatch):
    """Also in another process, because the cache is keyed by content."""
    monkeypatch.setattr(generate, "standing_statistics", lambda *_, **__: pytest.fail("measured again"))
    again = statistics_of(trained, studio.weights, "standing", "resample", 1).at(0.3)
    for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(studio.batch_stats.at(0.3)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_binned_statistics_of_the_checkpoint_are_used(trained):
    rows = jax.tree.map(lambda x: np.stack([x, x + 1]), trained.variables["batch_stats"])
    at = statistics_of(dataclasses.replace(trained, binned=rows), None, "binned", "scale", 1).at
    for stored, half, none in zip(*map(jax.tree.leaves, (rows, at(0.5), at(None))), strict=True):
        np.testing.assert_allclose(half, stored[0] + 0.5, rtol=1e-6)
        np.testing.assert_array_equal(none, stored[1])


def test_binned_statistics_need_truncated_z(studio):
    """As in `sample`, so that the same seed gives the same image."""
    binned = dataclasses.replace(studio, statistics="binned", kind="scale")
    assert str(binned.sampler(None).truncation) == "scale 1"


def test_an_interpolation_begins_and_ends_with_its_images(client):
    way = draw(client, "seed=3&class=7&to_seed=9&to_class=2&num=6")
    np.testing.assert_array_equal(way[0], draw(client, "seed=3&class=7&num=1")[0])
    np.testing.assert_array_equal(way[-1], draw(client, "seed=9&class=2&num=1")[0])
    assert len(np.unique(way, axis=0)) == 6


def test_interpolation_is_spherical_in_z_and_linear_in_class(studio):
    z, y = studio.latents(View(5, None, End(3, ((7, 1.0),)), End(9, ((2, 1.0),))))
    angles = [np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b) for a, b in itertools.pairwise(z)]
    assert np.linalg.norm(z[2]) > 0.9 * min(np.linalg.norm(z[0]), np.linalg.norm(z[4]))
    assert np.std(angles) < 0.05
    np.testing.assert_allclose(y[:, 7], [1, 0.75, 0.5, 0.25, 0])
    np.testing.assert_allclose(y.sum(axis=1), 1)


def test_interpolation_between_classes_of_one_seed_keeps_z(studio):
    z, _ = studio.latents(View(3, None, End(3, ((7, 1.0),)), End(3, ((2, 1.0),))))
    np.testing.assert_allclose(z, np.repeat(z[:1], 3, axis=0), rtol=1e-5)


def test_a_mixture_is_weighed(client, studio):
    _, y = studio.latents(parse({"class": "7:0.6,9:0.2", "num": "1"}, 10, 2.0))
    np.testing.assert_allclose(y[0, [7, 9]], [0.75, 0.25])
    assert not np.array_equal(draw(client, "class=7:0.6,9:0.2&num=1"), draw(client, "class=7&num=1"))


def test_an_npz_holds_what_is_shown_and_what_it_was_made_of(client):
    query = "seed=3&class=7&num=3&truncation=0.5"
    kept = arrays(client, query)
    np.testing.assert_array_equal(kept["arr_0"], draw(client, query))
    assert kept["z"].shape == (3, 12) and kept["y"].tolist() == [7, 7, 7]
    assert float(kept["truncation"]) == 0.5 and str(kept["truncation_kind"]) == "resample"
    assert arrays(client, "class=7:1,9:1&num=2")["y"].shape == (2, 10)


def test_a_png_is_a_grid_of_what_is_shown(client):
    query = "seed=3&class=7&num=4"
    drawn = np.asarray(Image.open(io.BytesIO(client.get(f"/api/grid.png?{query}").content)))
    grid = pictures.grid(draw(client, query), 2)
    factor = drawn.shape[0] // grid.shape[0]
    np.testing.assert_array_equal(drawn[::factor, ::factor], grid)


def test_an_unconditional_model_has_no_classes(trained, studio):
    gan = dataclasses.replace(trained.gan, condition=UNCONDITIONAL)
    unconditional = dataclasses.replace(studio, gan=gan)
    z, y = unconditional.latents(parse({"num": "3", "to_seed": "5"}, 0, 2.0))
    assert len(z) == 3 and y.tolist() == [0, 0, 0]
    with pytest.raises(UserError, match="unconditional"):
        parse({"class": "0"}, 0, 2.0)


BAD_LINKS = [
    ("class=10", "class '10' is unknown; this model has classes 0 to 9"),
    ("class=cat", "class 'cat' is unknown"),
    ("class=-1", "class '-1' is unknown"),
    ("class=", "class '' is unknown"),
    ("class=1,1", "class 1 is given twice"),
    ("class=1:2", "the weight '2' of class 1 is not a number from 0 to 1"),
    ("class=1:nan,2", "the weight 'nan' of class 1"),
    ("class=1:0,2:0", "at least one weight of a mixture"),
    ("class=0,1,2,3,4,5,6,7,8", "a mixture of 9 classes is too large"),
    ("to_class=10", "class '10' is unknown"),
    ("truncation=0", "truncation '0' is not a number above 0 and up to 2"),
    ("truncation=2.1", "truncation '2.1' is not"),
    ("truncation=nan", "truncation 'nan' is not"),
    ("truncation=inf", "truncation 'inf' is not"),
    ("truncation=-1e999", "truncation '-1e999' is not"),
    ("num=33", "num '33' is not a whole number from 1 to 32"),
    ("num=0", "num '0' is not"),
    ("num=1e3", "num '1e3' is not"),
    ("num=" + "9" * 5000, "num '99999999999999999999...' is not"),
    ("seed=2147483648", "seed '2147483648' is not"),
    ("seed=%00", "is not a whole number"),
    ("to_seed=%F0%9F%98%80", "is not a whole number"),
    ("sed=3", "'sed' is unknown; a link may have seed, class"),
]


def test_a_bad_link_is_refused_with_the_reason(client):
    for query, reason in BAD_LINKS:
        for path in ("images", "grid.png", "images.npz"):
            answer = client.get(f"/api/{path}?{query}")
            assert answer.status_code == 400 and reason in answer.json()["error"], (path, query)


def test_an_unknown_path_is_not_found(client):
    for path in ("/nothing", "/static/nothing.js", "/static/../app.py", "/static/%00", "/api/"):
        answer = client.get(path)
        assert answer.status_code == 404 and answer.json()["error"], path


def test_another_method_is_refused(client):
    assert client.post("/api/images").status_code == 405
    assert client.delete("/").json()["error"] == "Method Not Allowed"


def test_requests_for_another_host_name_are_refused(client):
    for host in ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", ""]:
        assert client.get("/", headers={"host": host}).status_code == 400, host


def test_the_page_is_whole_and_may_load_from_here_alone(client):
    page = client.get("/")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for part in ("/static/explore.js", "/static/explore.css"):
        assert part in page.text and client.get(part).status_code == 200


def test_a_model_whose_z_is_not_normal_takes_no_truncation():
    with pytest.raises(UserError, match="truncation is not defined for this model"):
        parse({"truncation": "0.5"}, 10, None)
    assert parse({}, 10, None).truncation is None
