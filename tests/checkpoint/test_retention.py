"""Which checkpoints outlive rotation."""

import json
import random
import types

import pytest
from etils import epath

from biggan_jax.checkpoint.manager import RetentionPolicy, read_pinned, write_pinned
from biggan_jax.types import UserError


def kept(policy, steps):
    checkpoints = [types.SimpleNamespace(step=step, metrics=None) for step in steps]
    return [step for step, keep in zip(steps, policy.should_preserve(checkpoints), strict=True) if keep]


def expected(policy, steps):
    """The rules, written out."""
    newest = set(steps[-policy.newest :])
    multiples = {step for step in steps if policy.every and step % policy.every == 0}
    scored = [step for step in steps if step in policy.scores]
    best = {min(scored, key=lambda step: (policy.scores[step], -step))} if scored else set()
    healthy = [step for step in steps if policy.last_healthy_step is not None and step <= policy.last_healthy_step]
    return [step for step in steps if step in newest | multiples | best | set(policy.pinned) | set(healthy[-1:])]


def test_each_rule_keeps_its_checkpoints():
    steps = list(range(1, 11))
    assert kept(RetentionPolicy(2, 0, {}, {}), steps) == [9, 10]
    assert kept(RetentionPolicy(20, 0, {}, {}), steps) == steps
    assert kept(RetentionPolicy(1, 4, {}, {}), steps) == [4, 8, 10]
    assert kept(RetentionPolicy(1, 0, {2: 1.0, 5: 1.0, 7: 3.0}, {}), steps) == [5, 10], "of equal scores the latest"
    assert kept(RetentionPolicy(1, 0, {}, {3: "why"}), steps) == [3, 10]
    assert kept(RetentionPolicy(1, 0, {}, {}, last_healthy_step=6), steps) == [6, 10]
    assert kept(RetentionPolicy(1, 0, {99: 0.1}, {98: "gone"}, last_healthy_step=0), steps) == [10]
    assert kept(RetentionPolicy(1, 0, {}, {}), []) == []


def test_all_rules_together_keep_what_they_keep_alone():
    rng = random.Random(0)
    for _ in range(500):
        steps = sorted(rng.sample(range(100), rng.randrange(12)))
        some = lambda: rng.sample(range(100), rng.randrange(9))
        scores = {step: rng.choice([1.0, 2.0, 3.0]) for step in some()}
        healthy = rng.choice([None, rng.randrange(100)])
        policy = RetentionPolicy(
            rng.randrange(1, 5), rng.choice([0, 5, 7]), scores, dict.fromkeys(some(), "why"), healthy
        )
        assert kept(policy, steps) == expected(policy, steps), policy


def test_later_scores_and_pins_are_forgotten():
    policy = RetentionPolicy(1, 0, {1: 1.0, 5: 0.5}, {2: "early", 6: "late"})
    policy.forget_after(4)
    assert (policy.scores, policy.pinned) == ({1: 1.0}, {2: "early"})


def test_pins_are_written_for_people_and_read_back(tmp_path):
    folder = epath.Path(tmp_path)
    assert read_pinned(folder) == {}
    write_pinned(folder, {20: "b", 3: "a"})
    assert list(json.loads((tmp_path / "kept.json").read_text())) == ["3", "20"]
    assert read_pinned(folder) == {3: "a", 20: "b"}


@pytest.mark.parametrize("text", ['{"2": ', "[1]", '{"two": "why"}'])
def test_invalid_pins_are_refused(tmp_path, text):
    (tmp_path / "kept.json").write_text(text)
    with pytest.raises(UserError, match="kept.json is not JSON such as"):
        read_pinned(epath.Path(tmp_path))
