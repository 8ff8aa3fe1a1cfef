import json
import math
import pathlib

import pytest

from biggan_jax.stability.rules import evaluate, is_healthy, rules_of

HEALTHY = {"d_real": 1.0, "d_fake": -0.5, "pixel_diversity": 0.8, "pixel_spread": 0.9, "d_sigma": 1.5, "g_sigma": 2.0}
HEALTHY |= {"d_norm": 20.0, "g_norm": 30.0, "d_active": 0.5}


def records(count=20, *, then=(), **changed):
    """`count` probes, ten steps apart, of a run that is healthy except for `changed`; then one for each dict in `then`."""
    signals = [HEALTHY | changed] * count + [HEALTHY | changed | more for more in then]
    return [{"step": 10 * (i + 1), "signals": values} for i, values in enumerate(signals)]


def test_a_healthy_run_has_no_verdict():
    assert evaluate([]) is None and evaluate(records(1)) is None and evaluate(records()) is None


@pytest.mark.parametrize(
    ("signal", "broken", "probes", "words"),
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
def test_each_rule_needs_enough_broken_probes_in_a_row(signal, broken, probes, words):
    assert evaluate(records(then=[broken] * (probes - 1))) is None
    if signal in ("contrast", "active", "diversity", "spread"):
        assert evaluate(records(then=[broken, {}] * probes)) is None, "not in a row"
    verdict = evaluate(records(then=[broken] * probes))
    assert (verdict.signal, verdict.onset, verdict.step) == (signal, 200, 200 + 10 * probes)
    assert words in verdict.sentence and "healthy until step 200" in verdict.sentence
    assert is_healthy(records()) and not is_healthy(records(then=[broken]))


def test_a_run_that_was_never_healthy_is_dead_on_arrival():
    verdict = evaluate(records(3, pixel_spread=0.01))
    assert verdict.onset == 10 and "failed from the start" in verdict.sentence


def test_the_contrast_before_the_first_step_does_not_count():
    probes = [{"step": step, "signals": HEALTHY | {"d_fake": 2.0}} for step in (0, 10, 20)]
    assert evaluate(probes) is None


def test_a_critic_may_be_unsure_but_not_dead():
    """-0.10, -0.18 and -0.16 are of a WGAN-GP on digits whose samples went on getting better."""
    critic = lambda *contrasts: [{"d_real": 5 * c, "d_fake": 0.0, "d_deviation": 5.0} for c in contrasts]
    assert evaluate(records(then=critic(0.12, 0.24, -0.10, -0.18, -0.16, 0.01))) is None
    verdict = evaluate(records(then=critic(-0.6, -0.9, -1.3)))
    assert verdict.signal == "relative_contrast" and verdict.value == pytest.approx(-1.3)
    assert "(relative_contrast -1.3 standard deviations, below -0.5" in verdict.sentence
    dead = evaluate(records(then=[{"d_real": 3.0, "d_fake": 3.0, "d_deviation": 0.0}] * 3))
    assert dead.signal == "d_deviation" and "D gives all images the same logit" in dead.sentence


def test_points_have_no_rule_of_contrast():
    """Their samples may become as good as real ones."""
    dead = records(then=[{"d_real": 0.0, "d_fake": 0.0}] * 3)
    assert evaluate(dead, rules=rules_of((16, 16, 3))).signal == "contrast"
    assert evaluate(dead, rules=rules_of((2,))) is None
    unlearned = records(then=[{"d_real": -2.0, "d_fake": 0.0, "d_deviation": 1.0}] * 3)
    assert evaluate(unlearned).signal == "relative_contrast" and evaluate(unlearned, rules=rules_of((2,))) is None
    assert evaluate(records(then=[{"pixel_spread": 0.0}] * 3), rules=rules_of((2,))).signal == "spread"


def test_an_ignored_signal_leaves_the_next_verdict():
    broken = records(then=[{"pixel_spread": 0.05, "pixel_diversity": 0.1}] * 3)
    assert evaluate(broken, ignored={"diversity"}).signal == "spread"
    assert evaluate(broken, ignored={"diversity", "spread"}) is None


def verdicts(signal, values, **options):
    """Return the verdict after each probe of a run whose `signal` has these values, fifty steps apart, from step 0 on."""
    probes = [{"step": 50 * i, "signals": HEALTHY | {signal: value}} for i, value in enumerate(values)]
    rules = rules_of((16, 16, 3), **options)
    return [evaluate(probes[: i + 1], rules=rules) for i in range(len(probes))]


def test_diversity_that_recovers_in_fine_tuning_is_no_collapse():
    """The first values are those of digits that became pictures of emoji; a run from scratch that lost them has collapsed."""
    of_a_run = [0.62, 0.36, 0.40, 0.44, 0.87, 0.9]
    assert not any(verdicts("pixel_diversity", of_a_run, fine_tuned=True))
    assert [bool(v) for v in verdicts("pixel_diversity", of_a_run)] == [False, False, False, True, False, False]
    slow = [0.9, 0.7, 0.49, 0.47, 0.46, 0.46, 0.46, 0.46, 0.47, 0.47, 0.475, 0.48, 0.49, 0.49, 0.495, 0.6]
    assert not any(verdicts("pixel_diversity", slow, fine_tuned=True))


@pytest.mark.parametrize("signal", ["d_active", "d_real"])
def test_d_may_win_or_lose_at_the_start_of_fine_tuning(signal):
    lost = {"d_active": 0.0, "d_real": -2.0}[signal]
    assert not any(verdicts(signal, [0.5, *[lost] * 7, 0.3, 0.5], fine_tuned=True))
    stays = verdicts(signal, [0.5, *[lost] * 10], fine_tuned=True)
    assert not any(stays[:-1]) and stays[-1].step == 500


@pytest.mark.parametrize(
    ("values", "step"),
    [
        ([0.9, 0.3, 0.2, 0.15], 150),  # To less than half of its own best.
        ([0.6, 0.36, 0.4, 0.6, 0.9, 0.4, 0.3, 0.25], 350),  # After it had adapted.
        ([0.6, *[0.4] * 10], 500),  # It stays where it fell.
        ([0.6, *[0.9] * 11, 0.45, 0.46, 0.47], 700),  # After the start the rule is that of every run.
        ([0.6, 0.4, math.nan, 0.4], 150),
    ],
)
def test_a_collapse_in_fine_tuning_is_seen(values, step):
    *before, last = verdicts("pixel_diversity", values, fine_tuned=True)
    assert not any(before)
    assert (last.signal, last.step) == ("diversity", step)


def test_slow_growth_is_healthy():
    grown = records(1, then=[{"g_sigma": 2.0 * 1.5**i} for i in range(20)])
    assert grown[-1]["signals"]["g_sigma"] > 1000 and evaluate(grown) is None


@pytest.mark.parametrize("every", [50, 100, 200, 500, 1000, 2000])
def test_a_long_healthy_run_has_no_verdict_at_any_interval(every):
    """13,300 steps of the demo's recipe, recorded by benchmarks/soak.py with a probe every 50."""
    probes = json.loads((pathlib.Path(__file__).parent.parent / "data" / "healthy_looks.json").read_text())
    seen = [record for record in probes if record["step"] % every == 0]
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


def test_a_run_without_the_expected_score_is_dead_on_arrival():
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
