"""Intervals against scipy and against their definitions: a verdict stands on them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchmarks.intervals import coverage
from contract.evidence import difference, pack_bits, statistic, t_quantile, unpack_bits
from distill.data import Split
from distill.evaluate import agreement, bootstrap, measure, wilson

many = settings(max_examples=200, deadline=None)


@many
@given(st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_scipys(counts):
    right, rows = counts
    expected = stats.binomtest(right, rows).proportion_ci(0.95, method="wilson")
    assert wilson(right / rows, rows) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_wilson_says_something_even_when_all_or_none_are_right(share):
    """The textbook interval would be a point: certainty from ten rows."""
    low, high = wilson(share, 10)
    assert 0 <= low < high <= 1
    assert high - low > 0.2


@many
@given(st.lists(st.floats(0.01, 20), min_size=1, max_size=60))
def test_a_bootstrap_interval_lies_among_the_values(values):
    """No resample of five losses has a mean below the smallest of them, however few rows there are."""
    low, high = bootstrap(np.array(values))
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9


@pytest.mark.parametrize("rows", [50, 500, 1999, 2000, 2001, 20_000])
@pytest.mark.parametrize("draw", [lambda r, n: r.exponential(1.0, n), lambda r, n: r.normal(3.0, 0.5, n)], ids=["exponential", "normal"])
def test_bootstrap_agrees_with_scipys(rows, draw):
    """Percentile bootstrap of the mean; large sets are judged from a sample of rows and scaled, which must not show."""
    values = draw(np.random.default_rng(1), rows)
    expected = stats.bootstrap((values,), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(2), batch=100)
    low, high = bootstrap(values)
    wide = expected.confidence_interval.high - expected.confidence_interval.low
    assert (low, high) == pytest.approx(tuple(expected.confidence_interval), abs=0.15 * wide)
    assert low < values.mean() < high


def test_bootstrap_is_the_same_every_time():
    """Two reports of one model must agree to the last digit."""
    values = np.random.default_rng(0).random(5000)
    np.random.seed(1)
    first = bootstrap(values)
    np.random.seed(2)
    assert bootstrap(values) == first


@pytest.mark.parametrize("freedom", [1, 2, 5, 11, 29, 30, 31, 50, 99])
def test_students_t_is_scipys(freedom):
    assert t_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=1e-3)


@many
@given(st.lists(st.floats(-100, 100), min_size=2, max_size=40))
def test_a_statistic_over_seeds_is_mean_deviation_and_t_interval(values):
    found = statistic(values)
    spread = np.std(values, ddof=1)
    assert (found["mean"], found["std"]) == pytest.approx((np.mean(values), spread), abs=1e-9)
    if spread > 1e-6:
        expected = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
        assert found["ci95"] == pytest.approx(list(expected), rel=1e-3, abs=1e-3 * spread)
    assert found["values"] == values


def test_seeds_that_agree_to_the_digit_have_the_interval_over_rows():
    """Three seeds of one SST-2 student each gained exactly 23 rows of 1,821: an interval of no width would claim certainty."""
    assert statistic([0.0126, 0.0126, 0.0126], [0.002, 0.023])["ci95"] == [0.002, 0.023]
    assert statistic([0.0126, 0.0127], [0.002, 0.023])["ci95"] != [0.002, 0.023]


@many
@given(st.lists(st.booleans(), max_size=50))
def test_which_rows_were_right_survives_packing(right):
    assert unpack_bits(pack_bits(right), len(right)) == right


@many
@given(st.integers(1, 50), st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_accuracy_loss_and_agreement_are_their_definitions(rows, classes, seed):
    draw = np.random.default_rng(seed)
    a, b = (draw.normal(0, 3, (rows, classes)).astype(np.float32) for _ in range(2))
    y = draw.integers(0, classes, rows)
    found = measure(torch.from_numpy(a), Split(torch.zeros(rows, 1), torch.from_numpy(y)))
    wide = a.astype(np.float64)
    losses = np.log(np.exp(wide - wide.max(1, keepdims=True)).sum(1)) + wide.max(1) - wide[np.arange(rows), y]
    assert found.metrics["accuracy"]["mean"] == pytest.approx(np.mean(a.argmax(1) == y))
    assert found.metrics["loss"]["mean"] == pytest.approx(losses.mean(), rel=1e-9)
    assert found.metrics["accuracy"]["ci95"] == pytest.approx(list(wilson(np.mean(a.argmax(1) == y), rows)))
    assert unpack_bits(found.rows_right, rows) == (a.argmax(1) == y).tolist()
    assert agreement(torch.from_numpy(a).argmax(1), torch.from_numpy(b).argmax(1)) == pytest.approx(np.mean(a.argmax(1) == b.argmax(1)))


@many
@given(st.integers(2, 6), st.integers(2, 40), st.integers(0, 2**32 - 1))
def test_an_interval_over_seeds_and_rows_counts_both_once(seeds, rows, seed):
    draw = np.random.default_rng(seed)
    better = draw.integers(-1, 2, (seeds, rows))
    found = difference(better.mean(1).tolist(), better.tolist())
    of_rows = 1.959964 * better.mean(0).std(ddof=1) / np.sqrt(rows)
    of_seeds = stats.t.ppf(0.975, seeds - 1) * better.mean(1).std(ddof=1) / np.sqrt(seeds)
    assert found["ci95_rows"] == pytest.approx([better.mean() - s * np.hypot(of_rows, of_seeds) for s in (1, -1)], abs=1e-3)


def test_of_one_seed_there_is_nothing_but_rows():
    assert "ci95_rows" not in difference([0.5], [[1, 0]])
    for better, claims in ((4, False), (5, False), (6, True), (1000, True)):  # as an exact test of signs would have it
        low, high = difference([better / 1000], [[1] * better + [0] * (1000 - better)])["ci95"]
        assert (low > 0) == (stats.binomtest(better, better).pvalue < 0.05) == claims
        assert low < better / 1000 <= high <= 1 and high - low > 0.001
    assert difference([0.5, 0.25], None).keys() == {"mean", "std", "ci95", "values"}


def test_many_seeds_on_few_rows_are_surer_than_they_may_be():
    """Of a hundred intervals over seeds alone far more than five miss the truth; counting the draw of the rows none too many do."""
    found = coverage(seeds=12, rows=200, trials=300)
    assert found["seeds and rows (ci95_rows)"] > 0.94
    assert found["t over seeds (ci95)"] < found["seeds and rows (ci95_rows)"] - 0.03
    assert found["bootstrap over seeds"] < found["t over seeds (ci95)"]
