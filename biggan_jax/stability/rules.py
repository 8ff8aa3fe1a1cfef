"""Owns the verdict on a run, from the record of its looks: healthy, collapsed, or dead on arrival. Must not know what follows from it.

Thresholds come from runs that were made to collapse and from runs that were left alone: docs/stability.md has the figures.
"""

import math
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from biggan_jax.runtime.jsonl import Record


class Verdict(NamedTuple):
    """What is wrong, and since when. `value` of `signal` at `step` is beyond `threshold`; at `onset` it was still well."""

    step: int
    onset: int
    signal: str
    value: float
    threshold: float
    sentence: str


class Rule(NamedTuple):
    """value: of the last of some looks, or None where the rule says nothing. A run is ill if it is above (or `below`) the threshold,
    or no number, for `looks` looks in a row; sentence: what that means."""

    signal: str
    value: Callable[[Sequence[Record]], float | None]
    threshold: float
    below: bool
    looks: int
    sentence: str
    unit: str = ""

    def broken(self, value: float | None) -> bool:
        if value is None or math.isnan(value):
            return value is not None
        return value < self.threshold if self.below else value > self.threshold


def contrast(records: Sequence[Record]) -> float | None:
    """How far D's mean logit of real images lies above that of samples. Before the first round that is chance."""
    signals = records[-1]["signals"]
    return signals["d_real"] - signals["d_fake"] if records[-1]["step"] else None


def of(signal: str) -> Callable[[Sequence[Record]], float | None]:
    """The signal itself, where there is one."""
    return lambda records: records[-1]["signals"].get(signal)


def jump(signal: str) -> Callable[[Sequence[Record]], float | None]:
    """How many times larger the signal is than the least of the two looks before."""

    def value(records: Sequence[Record]) -> float | None:
        *before, now = [r["signals"].get(signal) for r in records[-3:]]
        before = [value for value in before if value]
        return now / min(before) if now is not None and before else None

    return value


TIMES = " times what it was"

RULES = (
    Rule("contrast", contrast, 0.02, True, 3, "D no longer tells samples from real images"),
    Rule("active", of("d_active"), 0.02, True, 3, "D has won: the hinge loss learns from next to no image"),
    Rule("diversity", of("pixel_diversity"), 0.5, True, 3, "samples of one class have become alike"),
    Rule("spread", of("pixel_spread"), 0.1, True, 3, "all samples are nearly one"),
    Rule("d_sigma", jump("d_sigma"), 8.0, False, 2, "the singular values of D's weights explode", TIMES),
    Rule("g_sigma", jump("g_sigma"), 8.0, False, 2, "the singular values of G's weights explode", TIMES),
    Rule("d_norm", jump("d_norm"), 4.0, False, 2, "D's weights explode", TIMES),
    Rule("g_norm", jump("g_norm"), 4.0, False, 2, "G's weights explode", TIMES),
)
"""In the order in which they are asked. Signals are those of probe.look."""

WORSE = 3.0
"""Times the best score so far: two scores in a row that are worse mean that what was learnt is lost."""


def judge(
    records: Sequence[Record],
    expected: Sequence[tuple[int, float]] = (),
    ignored: Collection[str] = (),
    rules: Sequence[Rule] = RULES,
) -> Verdict | None:
    """The verdict at the last of a run's records, in order of steps; None for a run that is well.

    expected: (round, score), as config.expected_scores gives them. ignored: signals that are not to be heard.
    """
    verdicts = (by_rule(rule, records) for rule in rules if rule.signal not in ignored)
    of_scores = (by_score(records), by_expectation(records, expected))
    return next((v for v in (*verdicts, *of_scores) if v and v.signal not in ignored), None)


def well(records: Sequence[Record], rules: Sequence[Rule] = RULES) -> bool:
    """Whether the last look broke no rule, not even for the first time in a row."""
    return not any(rule.broken(rule.value(records)) for rule in rules)


def by_rule(rule: Rule, records: Sequence[Record]) -> Verdict | None:
    """The rule's verdict, if it is broken by as many looks in a row as it takes."""
    ill = 0
    while ill < len(records) and rule.broken(value := rule.value(records[: len(records) - ill])):
        ill += 1
    if ill < rule.looks:
        return None
    # A run that was never well has no look from before; nothing is known of what was before its first.
    onset, alive = records[max(len(records) - ill - 1, 0)]["step"], ill < len(records)
    value = rule.value(records)
    assert value is not None, "a rule that says nothing is not broken"
    beyond = "below" if rule.below else "above"
    sentence = (
        f"{rule.sentence} ({rule.signal} {value:.3g}{rule.unit}, {beyond} {rule.threshold:g}, {_since(onset, alive)})"
    )
    return Verdict(records[-1]["step"], onset, rule.signal, value, rule.threshold, sentence)


def by_score(records: Sequence[Record]) -> Verdict | None:
    """Of a run whose last two scores are far from the best that it had."""
    scores = _scores(records)
    if len(scores) < 3 or "score" not in records[-1]["signals"]:
        return None
    best_step, best = min(scores[:-2], key=lambda s: s[1])
    if not all(score > WORSE * best for _, score in scores[-2:]):
        return None
    step, score = scores[-1]
    onset = scores[-3][0] if scores[-3][1] <= WORSE * best else best_step
    sentence = f"the score is {score:.4g}, more than {WORSE:g} times the best, {best:.4g} at step {best_step}"
    return Verdict(step, onset, "score", score / best, WORSE, sentence)


def by_expectation(records: Sequence[Record], expected: Sequence[tuple[int, float]]) -> Verdict | None:
    """Of a run that has not learnt by now what a run of its config should have."""
    if not records or "score" not in records[-1]["signals"]:
        return None
    step = records[-1]["step"]
    bars = [score for round_, score in expected if round_ <= step]
    best = min((score for _, score in _scores(records)), default=math.inf)
    if not bars or best < bars[-1]:
        return None
    sentence = (
        f"dead on arrival: the best score so far is {best:.4g}, and by step {step} it should be below {bars[-1]:g}"
    )
    return Verdict(step, 0, "expected", best, bars[-1], sentence)


def _scores(records: Sequence[Record]) -> list[tuple[int, float]]:
    found = [(r["step"], r["signals"]["score"]) for r in records if "score" in r["signals"]]
    return [(step, score) for step, score in found if not math.isnan(score)]


def _since(onset: int, alive: bool) -> str:
    return f"well until step {onset}" if alive else "from the start: dead on arrival"
