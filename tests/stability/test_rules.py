import json
import math
import pathlib

import pytest

from biggan_jax.stability.rules import evaluate, is_healthy

WELL = {"d_real": 1.0, "d_fake": -0.5, "pixel_diversity": 0.8, "pixel_spread": 0.9, "d_sigma": 1.5, "g_sigma": 2.0}
WELL |= {"d_norm": 20.0, "g_norm": 30.0, "d_active": 0.5}


def records(count=20, *, then=(), **changed):
    """`count` looks, ten rounds apart, at a run that is well but for `changed`; then others, of which each dict says what changed."""
    looks = [WELL | changed] * count + [WELL | changed | look for look in then]
    return [{"step": 10 * (i + 1), "signals": signals} for i, signals in enumerate(looks)]


def test_a_run_that_is_well_has_no_verdict():
    assert evaluate([]) is None and evaluate(records(1)) is None and evaluate(records()) is None


@pytest.mark.parametrize(
    ("signal", "ill", "looks", "words"),
    [
        ("contrast", {"d_real": 0.1, "d_fake": 0.0999}, 3, "D no longer tells samples from real images"),
        ("contrast", {"d_real": -0.5, "d_fake": 0.1}, 3, "D no longer tells samples from real images"),
        ("contrast", {"d_real": math.nan}, 3, "D no longer tells samples from real images"),
        ("active", {"d_active": 0.0}, 3, "D has won"),
        ("diversity", {"pixel_diversity": 0.4}, 3, "samples of one class have become alike"),
        ("spread", {"pixel_spread": 0.05}, 3, "all samples are nearly one"),
        ("d_sigma", {"d_sigma": 13.0}, 2, "the singular values of D's weights explode"),
        ("g_sigma", {"g_sigma": 17.0}, 2, "the singular values of G's weights explode"),
        ("d_norm", {"d_norm": 90.0}, 2, "D's weights explode"),
        ("g_norm", {"g_norm": 130.0}, 2, "G's weights explode"),
    ],
)
def test_each_signal_has_its_verdict_after_enough_looks_in_a_row(signal, ill, looks, words):
    assert evaluate(records(then=[ill] * (looks - 1))) is None
    if signal in ("contrast", "active", "diversity", "spread"):
        assert evaluate(records(then=[ill, {}] * looks)) is None, "not in a row"
    verdict = evaluate(records(then=[ill] * looks))
    assert (verdict.signal, verdict.onset, verdict.step) == (signal, 200, 200 + 10 * looks)
    assert words in verdict.sentence and "healthy until step 200" in verdict.sentence
    assert is_healthy(records()) and not is_healthy(records(then=[ill]))


def test_a_run_that_never_came_to_life_is_dead_on_arrival_but_not_before_its_first_look():
    verdict = evaluate(records(3, pixel_spread=0.01))
    assert verdict.onset == 10 and "dead on arrival" in verdict.sentence


def test_what_d_thinks_before_its_first_round_is_chance():
    looks = [{"step": step, "signals": WELL | {"d_fake": 2.0}} for step in (0, 10, 20)]
    assert evaluate(looks) is None


def test_a_verdict_that_was_heard_leaves_the_next_to_be_heard():
    ill = records(then=[{"pixel_spread": 0.05, "pixel_diversity": 0.1}] * 3)
    assert evaluate(ill, ignored={"diversity"}).signal == "spread"
    assert evaluate(ill, ignored={"diversity", "spread"}) is None


def test_a_slow_growth_is_none():
    grown = records(1, then=[{"g_sigma": 2.0 * 1.5**i} for i in range(20)])
    assert grown[-1]["signals"]["g_sigma"] > 1000 and evaluate(grown) is None


@pytest.mark.parametrize("every", [50, 100, 200, 500, 1000, 2000])
def test_a_long_run_that_was_left_alone_is_well_however_seldom_it_is_looked_at(every):
    """13,300 rounds of the demo's recipe, as recorded by benchmarks/soak.py with a look every 50."""
    looks = json.loads((pathlib.Path(__file__).parent.parent / "data" / "healthy_looks.json").read_text())
    seen = [look for look in looks if look["step"] % every == 0]
    assert len(seen) == 13300 // every + 1
    expected = ((300, 600.0), (600, 200.0))
    assert not [verdict for i in range(len(seen)) if (verdict := evaluate(seen[: i + 1], expected))]


def test_two_scores_in_a_row_far_from_the_best_are_a_collapse():
    assert evaluate(records(then=[{"score": 90.0}, {"score": 10.0}, {"score": 40.0}])) is None
    verdict = evaluate(records(then=[{"score": 90.0}, {"score": 10.0}, {"score": 40.0}, {"score": 50.0}]))
    assert (verdict.signal, verdict.onset, verdict.value) == ("score", 220, 5.0)
    assert evaluate(records(then=[{"score": 90.0}, {"score": 10.0}, {"score": 40.0}, {}, {"score": 29.0}])) is None
    assert (
        evaluate(records(then=[{"score": math.nan}, {"score": 10.0}, {"score": 40.0}, {"score": 50.0}])).signal
        == "score"
    )


def test_a_run_that_has_not_learnt_by_then_is_dead_on_arrival():
    expected = ((220, 100.0), (240, 50.0))
    assert evaluate(records(then=[{"score": 500.0}]), expected) is None, "not due yet"
    verdict = evaluate(records(then=[{"score": 500.0}, {"score": 400.0}]), expected)
    assert (verdict.signal, verdict.onset, verdict.threshold) == ("expected", 0, 100.0)
    assert evaluate(records(then=[{"score": 90.0}, {"score": 95.0}, {"score": 99.0}]), expected) is None
    assert evaluate(records(then=[{"score": math.nan}, {"score": 95.0}]), expected) is None
    assert (
        evaluate(records(then=[{"score": 90.0}, {"score": 95.0}, {"score": 99.0}, {"score": 98.0}]), expected).threshold
        == 50.0
    )
