"""Decide from the records of a run's probes whether it is healthy, collapsed or failed from the start.

Thresholds come from runs that were made to collapse and from healthy runs: docs/stability.md has the figures.
"""

import math
import statistics
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from biggan_jax.runtime.jsonl import Record

Value = Callable[[Sequence[Record]], float | None]

NONFINITE = "nonfinite"  # The signal of a verdict on updates or arrays that were not finite; no rule has it.


class Verdict(NamedTuple):
    """What is wrong, and since when. `value` of `signal` at `step` is beyond `threshold`; at `onset` it was still healthy."""

    step: int
    onset: int
    signal: str
    value: float
    threshold: float
    sentence: str


class Rule(NamedTuple):
    """A condition that a collapsed run meets.

    value: computes the rule's value from the records up to a probe; None: the rule does not apply. The rule is broken if the
    value is above (or `below`) the threshold, or NaN. `probes` broken probes in a row are a collapse.

    start: the probes after the first within which a fine-tuned network may break the rule as it adapts to other data; see
    `_adapts`. fall: a share of the run's largest value; what falls below it is no adaptation.
    """

    signal: str
    value: Value
    threshold: float
    below: bool
    probes: int
    sentence: str
    unit: str = ""
    start: int = 0
    fall: float = 0.0

    def broken(self, value: float | None) -> bool:
        return value is not None and not (value >= self.threshold if self.below else value <= self.threshold)


def contrast(records: Sequence[Record]) -> float | None:
    """Return D's mean logit of real images minus that of samples. None at step 0, where it is random.

    None also for logits without a scale: see relative_contrast.
    """
    signals = records[-1]["signals"]
    if "pixel_spread" in signals and "d_real" not in signals:
        return None  # A model without the one discriminator D.
    if not records[-1]["step"] or "d_deviation" in signals:
        return None
    return signals["d_real"] - signals["d_fake"]


def relative_contrast(records: Sequence[Record]) -> float | None:
    """Return the contrast in standard deviations of D's logits, of losses whose logits have no scale.

    It is near 0, either way, in healthy runs whose samples a bounded critic hardly tells from real images. None at step 0.
    """
    signals = records[-1]["signals"]
    if not records[-1]["step"] or not (deviation := signals.get("d_deviation")):
        return None
    return (signals["d_real"] - signals["d_fake"]) / deviation


def latest(signal: str) -> Value:
    """Return the function that reads the signal from the last record; None if it is missing."""
    return lambda records: records[-1]["signals"].get(signal)


def growth(signal: str, least: float = 0.0) -> Value:
    """Return the function that divides the signal by the smaller of its two previous values, or by `least` if that is more."""

    def value(records: Sequence[Record]) -> float | None:
        *before, now = [r["signals"].get(signal) for r in records[-3:]]
        before = [max(value, least) for value in before if value is not None and (value or least)]
        return now / min(before) if now is not None and before else None

    return value


START = 10  # Probes at the start of a run, in which an untrained network begins to learn, and a fine-tuned one adapts.
EARLIER = 12  # Probes that a signal is compared with.


def share_of_earlier(signal: str, chance: float, known: float) -> Value:
    """Return the function that divides what the signal is above chance by its median in the probes before, at most EARLIER.

    None until there are three, without those of the start, and if their median is below `known`. A slow fall, as of a D whose
    samples get better, stays near 1.
    """

    def value(records: Sequence[Record]) -> float | None:
        if len(records) <= START:
            return None
        *before, now = [r["signals"].get(signal) for r in records[START:][-EARLIER - 1 :]]
        before = [value for value in before if value is not None]
        if now is None or len(before) < 3 or (typical := statistics.median(before)) < known:
            return None
        return (now - chance) / (typical - chance)

    return value


D_LOST = "D no longer tells samples from real images"
TIMES = " times what it was"
OF_EARLIER = " of what it was, above chance"
LABELS_WRONG = "D no longer knows the classes of real images, as if their labels were wrong"
CLASSES_ALIKE = "samples hardly depend on their class any more"
CLASSES_LOST = "samples no longer show their classes, as D sees them"
TIMES_G = " times the norm of G's weights"
TIMES_LIVE = " times the largest of the weights it averages"

RULES = (
    Rule("contrast", contrast, 0.02, True, 3, D_LOST),
    Rule("relative_contrast", relative_contrast, -0.5, True, 3, D_LOST, " standard deviations"),
    Rule("d_deviation", latest("d_deviation"), 1e-9, True, 3, "D gives all images the same logit"),
    Rule("active", latest("d_active"), 0.02, True, 3, "D has won: the hinge loss learns from next to no image"),
    Rule("diversity", latest("pixel_diversity"), 0.5, True, 3, "samples of one class have become alike", fall=0.5),
    Rule("spread", latest("pixel_spread"), 0.1, True, 3, "all samples are nearly one", fall=0.5),
    Rule("batch_distinct", latest("batch_distinct"), 0.25, True, 2, "the real images of a step are copies of few"),
    Rule("batch_spread", latest("batch_spread"), 0.2, True, 2, "the real images of a step are nearly one"),
    Rule("real_agreement", share_of_earlier("real_agreement", 0.5, 0.75), 0.4, True, 3, LABELS_WRONG, OF_EARLIER),
    Rule("sample_agreement", share_of_earlier("sample_agreement", 0.5, 0.75), 0.4, True, 3, CLASSES_LOST, OF_EARLIER),
    Rule("class_distance", share_of_earlier("class_distance", 0.0, 0.05), 0.5, True, 3, CLASSES_ALIKE, OF_EARLIER),
    Rule("d_sigma", growth("d_sigma"), 8.0, False, 2, "the singular values of D's weights explode", TIMES),
    Rule("g_sigma", growth("g_sigma"), 8.0, False, 2, "the singular values of G's weights explode", TIMES),
    Rule("d_norm", growth("d_norm"), 4.0, False, 2, "D's weights explode", TIMES),
    Rule("g_norm", growth("g_norm"), 4.0, False, 2, "G's weights explode", TIMES),
    Rule("ema_distance", latest("ema_distance"), 10.0, False, 2, "the average of G is far from G", TIMES_G),
    Rule("average", latest("average_excess"), 100.0, False, 1, "an averaged weight is absurd", TIMES_LIVE),
    Rule("moments", growth("moments", 1.0), 1e4, False, 1, "running statistics are absurd", TIMES),
)
"""In the order in which they are evaluated. signals.probe, batches.signals_of and arrays.signals_of compute the signals."""

WHERE = {"average": "average_excess", "moments": "moments"}
"""The signals of rules of which a record's `where` names the array."""


def rules_of(image_shape: Sequence[int], *, fine_tuned: bool = False) -> tuple[Rule, ...]:
    """Return the rules for data of this shape.

    Samples of points may become as good as real ones, and then no D tells them apart: contrasts are rules for images.
    fine_tuned: the run starts from weights that other data may have formed, so rules with a lower bound allow a start.
    """
    rules = (rule for rule in RULES if not rule.signal.endswith("contrast") or len(image_shape) == 3)
    adapts = lambda rule: fine_tuned and rule.below and not rule.signal.startswith("batch_")
    return tuple(rule._replace(start=START) if adapts(rule) else rule for rule in rules)


WORSE = 3.0  # Two scores in a row above this multiple of the best score are a collapse.


def evaluate(
    records: Sequence[Record],
    expected: Sequence[tuple[int, float]] = (),
    ignored: Collection[str] = (),
    rules: Sequence[Rule] = RULES,
) -> Verdict | None:
    """Return the first verdict on a run at the last of its records, those of all probes; None if the run is healthy.

    expected: (step, score) pairs from config.expected_scores. ignored: signals without effect.
    """
    if records and (names := records[-1].get("not_finite")):
        before = [record["step"] for record in records if not record.get("not_finite")]
        return not_finite_verdict(records[-1]["step"], before[-1] if before else 0, names)
    verdicts = (by_rule(rule, records) for rule in rules if rule.signal not in ignored)
    of_scores = (by_score(records), by_expectation(records, expected))
    return next((v for v in (*verdicts, *of_scores) if v and v.signal not in ignored), None)


def not_finite_verdict(step: int, onset: int, names: str) -> Verdict:
    """Return the verdict on a state with values that are not finite. names: of its arrays. onset: the last probe without."""
    return Verdict(step, onset, NONFINITE, 1, 0, f"the state has values that are not finite: {names}")


def is_healthy(records: Sequence[Record], rules: Sequence[Rule] = RULES) -> bool:
    """Return whether the last probe broke no rule, not even once; False without rules."""
    fit = rules and not records[-1].get("not_finite")
    return bool(fit) and not any(rule.broken(rule.value(records)) for rule in rules)


def by_rule(rule: Rule, records: Sequence[Record]) -> Verdict | None:
    """Return the rule's verdict if enough probes in a row broke it."""
    healthy = next((i for i in range(len(records), 0, -1) if not rule.broken(rule.value(records[:i]))), 0)
    if len(records) - healthy < rule.probes or _adapts(rule, records, healthy):
        return None
    # If every probe broke the rule, the onset is the first probe.
    onset, value = records[max(healthy - 1, 0)]["step"], rule.value(records)
    assert value is not None, "a rule that does not apply is not broken"
    beyond = f"{'below' if rule.below else 'above'} {rule.threshold:g}"
    since = f"healthy until step {onset}" if healthy else "failed from the start"
    array = records[-1].get("where", {}).get(WHERE.get(rule.signal))
    sentence = (
        f"{rule.sentence}{f': {array}' if array else ''} ({rule.signal} {value:.3g}{rule.unit}, {beyond}, {since})"
    )
    return Verdict(records[-1]["step"], onset, rule.signal, value, rule.threshold, sentence)


def _adapts(rule: Rule, records: Sequence[Record], healthy: int) -> bool:
    """Return whether a fine-tuned run may break the rule since it still adapts. Its first `healthy` records come before that.

    On other data, samples are poor at first by the measure of those data, then recover: they do if the last value is above the
    mean of the broken ones before. A fall to a small share of the run's own best is a collapse at once.
    """
    if not rule.start or healthy > rule.start:
        return False
    values = [value for i in range(len(records)) if (value := rule.value(records[: i + 1])) is not None]
    broken, last = values[healthy - len(records) :], values[-rule.probes :]
    if any(map(math.isnan, last)):
        return False
    recovers = last[-1] > statistics.fmean(broken[:-1])
    fallen = rule.fall and max(last) < rule.fall * max(values)
    return recovers or (len(records) <= rule.start and not fallen)


def by_score(records: Sequence[Record]) -> Verdict | None:
    """Return a verdict if the last two scores are far from the best."""
    scores = _scores(records)
    if len(scores) < 3 or "score" not in records[-1]["signals"]:
        return None
    best_step, best = min(scores[:-2], key=lambda s: s[1])
    if min(score for _, score in scores[-2:]) <= WORSE * best:
        return None
    step, score = scores[-1]
    onset = scores[-3][0] if scores[-3][1] <= WORSE * best else best_step
    sentence = f"the score is {score:.4g}, more than {WORSE:g} times the best, {best:.4g} at step {best_step}"
    return Verdict(step, onset, "score", score / best, WORSE, sentence)


def by_expectation(records: Sequence[Record], expected: Sequence[tuple[int, float]]) -> Verdict | None:
    """Return a verdict if no score has reached what config.stability.expected asks for by now."""
    if not records or "score" not in records[-1]["signals"]:
        return None
    step = records[-1]["step"]
    required = next((score for due, score in reversed(expected) if due <= step), None)
    best = min((score for _, score in _scores(records)), default=math.inf)
    if required is None or best < required:
        return None
    sentence = (
        f"failed from the start: the best score is {best:.4g}, and by step {step} it should be below {required:g}"
    )
    return Verdict(step, 0, "expected", best, required, sentence)


def _scores(records: Sequence[Record]) -> list[tuple[int, float]]:
    found = [(r["step"], r["signals"]["score"]) for r in records if "score" in r["signals"]]
    return [(step, score) for step, score in found if not math.isnan(score)]
