"""How far one more run of the same pipeline may be from the mean of ours."""

from dataclasses import replace

import numpy as np
import pytest
from frames import predictions
from scipy.stats import t

from leukobench.evaluation.intervals import Repeats
from leukobench.evaluation.limits import Variance
from leukobench.evaluation.metrics import Metric
from leukobench.evaluation.replicates import (
    Replicates,
    pooled_training,
    reach,
    reach_of_values,
)

NONE = Variance(())


def shown(*values, units=0.0, **more):
    """Seeds with these values on one shared test set of 100."""
    return Replicates(
        seeds=tuple(map(str, range(len(values)))),
        values=values,
        units=Variance(((units, 50.0),)) if units else NONE,
        sampling=Variance(((0.0016, 99.0),)),
        tested=100.0,
        samples=100,
        split_anew=False,
        step=0.01,
        **more,
    )


def test_a_replicate_reaches_as_far_as_students_prediction_interval():
    values = (0.80, 0.84, 0.86, 0.82)
    half = t.ppf(0.975, 3) * np.std(values, ddof=1) * np.sqrt(1 + 1 / 4)
    assert reach(shown(*values)).half == pytest.approx(half)
    assert reach_of_values(values).half == pytest.approx(half)


def test_what_is_detectable_lies_beyond_the_reach():
    found = reach(shown(0.80, 0.84, 0.86, 0.82))
    assert found.detectable > found.half


def test_one_seed_needs_siblings_with_several():
    alone = reach(shown(0.8))
    assert alone.half is None
    assert "one seed" in alone.reason
    siblings = [shown(0.80, 0.84, 0.82), shown(0.7, 0.75, 0.71)]
    assert reach(shown(0.8), siblings).configurations == 2


def test_siblings_lend_degrees_of_freedom():
    rng = np.random.default_rng(0)
    table = [shown(*(0.8 + 0.02 * rng.normal(size=3))) for _ in range(6)]
    assert pooled_training(table).degrees > pooled_training(table[:1]).degrees == 2


def test_siblings_that_move_together_lend_none():
    values = np.array([0.80, 0.84, 0.83, 0.78])
    table = [shown(*(values + gap)) for gap in (0.0, 0.01, 0.02, 0.05)]
    assert pooled_training(table).degrees == pytest.approx(3)


def test_siblings_with_other_seeds_lend_nothing():
    own, other = shown(0.80, 0.84, 0.82), shown(0.7, 0.75, 0.71, 0.72)
    assert reach(own, [own, other]) == reach(own)


def test_a_configuration_that_differs_more_than_its_siblings_keeps_its_own_variance():
    steady = [shown(0.8, 0.801 + gap, 0.799 - gap) for gap in (0.0, 0.001, 0.002, 0.003)]
    wild = shown(0.7, 0.9, 0.8)
    assert reach(wild, [*steady, wild]) == reach(wild)
    assert reach(steady[0], [*steady, wild]).configurations == 5


def test_a_smaller_published_test_set_reaches_further():
    anew = replace(shown(0.80, 0.84, 0.82, units=0.0016), split_anew=True, samples=400)
    assert reach(anew, samples=25).half > reach(anew, samples=100).half
    assert reach(anew, samples=102) == reach(anew)


def test_nothing_ever_wrong_reaches_as_far_as_clopper_pearson():
    perfect = replace(shown(1.0, 1.0, 1.0, span=1.0), split_anew=True, tested=14.0)
    assert reach(perfect).half == pytest.approx(1 - 0.025 ** (1 / 14))


def test_equal_answers_of_all_seeds_do_not_prove_that_there_is_no_variance():
    two, ten = reach(shown(*[0.8] * 2)), reach(shown(*[0.8] * 10))
    assert two.half > ten.half > 0


def test_counts_reach_as_far_as_their_rate():
    rng = np.random.default_rng(3)
    frames = []
    for seed in range(4):
        p = rng.uniform(0.2, 1, size=60)
        frames.append((str(seed), predictions(["ALL"] * 30 + ["AML"] * 30, np.c_[p, 1 - p])))
    repeats = Repeats.of(frames)
    count, rate = (repeats.replicates(Metric(name, "binary", "ALL")) for name in ("tp", "recall"))
    assert count.values == tuple(30 * v for v in rate.values)
    assert reach(count).half == pytest.approx(30 * reach(rate).half)


def test_what_is_kept_of_replicates_is_read_as_it_was():
    import json
    from dataclasses import asdict

    own = shown(0.80, 0.84, 0.82, units=0.0004)
    assert Replicates.of_record(json.loads(json.dumps(asdict(own)))) == own
