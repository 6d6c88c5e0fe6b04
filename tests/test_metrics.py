from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from itertools import product

import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from cvae import metrics
from cvae.losses import kl_per_unit
from cvae.model import Gaussian

PATIENT = settings(deadline=None)  # a busy machine is no fault of the code

# A small alphabet makes matches of every order likely.
words = st.text("abe", max_size=8) | st.text("abcdefghijklmnopqrstuvwxyz?", max_size=24)
paradigms = st.tuples(*[st.text("ab", min_size=1, max_size=2)] * 4)

ABANDON = ("abandon", "abandons", "abandoning", "abandoned")
ABET = ("abet", "abets", "abetting", "abetted")
SEND = ("send", "sends", "sending", "sent")


# BLEU-4


@PATIENT
@given(target=words, prediction=words)
@example(target="abandoned", prediction="")
@example(target="", prediction="a")
@example(target="", prediction="")
@example(target="be", prediction="be")
@example(target="ran", prediction="r")
@example(target="ran", prediction="running")
@example(target="aaaa", prediction="aaaaaaaa")
def test_bleu4_equals_nltk_to_the_last_bit(target: str, prediction: str) -> None:
    assert metrics.bleu4(target, prediction) == metrics.bleu4_nltk(target, prediction)


def test_bleu4_equals_nltk_on_many_random_words() -> None:
    draw = random.Random(1)

    def word(letters: str, longest: int) -> str:
        return "".join(draw.choices(letters, k=draw.randint(0, longest)))

    for letters, longest in [("abc", 4), ("abcde", 12), ("abcdefghijklmnopqrstuvwxyz", 12)] * 2:
        for _ in range(20_000 // 6 + 1):
            target, prediction = word(letters, longest), word(letters, longest)
            expected = metrics.bleu4_nltk(target, prediction)
            assert metrics.bleu4(target, prediction) == expected, (target, prediction)


@pytest.mark.parametrize(
    ("target", "prediction", "expected"),
    [
        ("abandoned", "abandoned", 1.0),
        ("ran", "ran", 1.0),
        # Copying the source: all precisions 1, brevity penalty exp(1 - 9/7).
        ("abandoned", "abandon", math.exp(-2 / 7)),
        # p = 2/2, 1/1, then no 3-gram and no 4-gram: 0.1 of one each.
        ("be", "be", 0.1**0.5),
        # p = 2/3, 0.1/2, 0.1/1 with weights 0.33.
        ("ran", "run", (2 / 3 * 0.05 * 0.1) ** 0.33),
        # p = 4/8 (clipped), 3/7, 2/6, 1/5; longer than the target, so no brevity penalty.
        ("aaaa", "aaaaaaaa", (4 / 8 * 3 / 7 * 2 / 6 * 1 / 5) ** 0.25),
        ("abandoned", "", 0.0),
        ("abandoned", "fish", 0.0),
    ],
)
def test_bleu4_golden_values(target: str, prediction: str, expected: float) -> None:
    assert metrics.bleu4(target, prediction) == pytest.approx(expected, rel=1e-12)


def test_bleu4_of_pairs_is_the_mean() -> None:
    pairs = [("abandoned", "abandoned"), ("be", "be"), ("ran", "")]
    assert metrics.bleu4_of_pairs(pairs) == pytest.approx((1.0 + 0.1**0.5) / 3)


def test_bleu4_of_no_pairs_is_an_error() -> None:
    with pytest.raises(metrics.MetricError, match="no pairs"):
        metrics.bleu4_of_pairs([])


# Exact match, edit distance


def test_exact_match_accepts_any_listed_variant() -> None:
    accepted = [["travelled", "traveled"], ["sent"], ["split"], ["healed"]]
    assert metrics.exact_match(accepted, ["traveled", "sent", "splitted", "healed"]) == 0.75


@pytest.mark.parametrize(
    ("accepted", "predictions", "message"),
    [
        ([], [], "no predictions"),
        ([["sent"]], ["sent", "send"], "1 accepted entries for 2 predictions"),
        (["abandoned"], ["abandon"], "accepted words are 'abandoned'"),
    ],
)
def test_exact_match_refuses_what_would_mislead(
    accepted: list[list[str]], predictions: list[str], message: str
) -> None:
    with pytest.raises(metrics.MetricError, match=message):
        metrics.exact_match(accepted, predictions)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("sent", "sends", 2), ("ab", "ba", 2)],
)
def test_edit_distance_golden_values(a: str, b: str, expected: int) -> None:
    assert metrics.edit_distance(a, b) == expected


@PATIENT
@given(a=words, b=words)
def test_edit_distance_equals_nltk(a: str, b: str) -> None:
    from nltk.metrics.distance import edit_distance

    assert metrics.edit_distance(a, b) == edit_distance(a, b) == metrics.edit_distance(b, a)


# Generation


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # scipy 1.17.1, stats.binomtest(successes, n).proportion_ci(method="wilson").
        (0, 10, 0.0, 0.27753279986288926),
        (10, 10, 0.7224672001371109, 1.0),
        (2, 100, 0.00550196755016235, 0.07001179072854391),
        (645, 1000, 0.6148387032147421, 0.6740515368244469),
        # Newcombe 1998, table I, method 3, prints 0.2553 to 0.3662.
        (81, 263, 0.2552885198782742, 0.36620957698280004),
    ],
)
def test_wilson_interval_golden_values(successes: int, n: int, low: float, high: float) -> None:
    assert metrics.wilson_interval(successes, n) == pytest.approx((low, high), abs=1e-12)


@PATIENT
@given(data=st.data(), n=st.integers(0, 10_000))
def test_wilson_interval_holds_the_share_and_is_symmetric(data: st.DataObject, n: int) -> None:
    successes = data.draw(st.integers(0, n))
    low, high = metrics.wilson_interval(successes, n)
    assert 0.0 <= low < high <= 1.0
    assert low <= successes / max(n, 1) <= high
    mirrored = metrics.wilson_interval(n - successes, n)
    assert mirrored == pytest.approx((1.0 - high, 1.0 - low), abs=1e-12)


@pytest.mark.parametrize(("successes", "n"), [(-1, 5), (6, 5), (0, -1)])
def test_wilson_interval_of_an_impossible_count_is_an_error(successes: int, n: int) -> None:
    with pytest.raises(metrics.MetricError, match="allowed: 0 <= successes <= n"):
        metrics.wilson_interval(successes, n)


def test_gaussian_score_needs_all_four_forms() -> None:
    wrong = (*ABET[:3], "abeted")
    score = metrics.gaussian_score([ABANDON, ABANDON, wrong, SEND], [ABANDON, ABET, SEND])
    low, high = metrics.wilson_interval(3, 4)
    # Two rows by three hits, of which uniform ones show 3 * (1 - (2/3)^3) = 19/9.
    assert score == metrics.GaussianScore(
        score=0.75,
        low=low,
        high=high,
        distinct=2,
        draws=4,
        variety=pytest.approx(0.75 * 2 * 9 / 19),
    )


def test_gaussian_score_counts_a_draw_once_when_its_row_is_duplicated() -> None:
    once = metrics.gaussian_score([ABANDON, SEND], [ABANDON, ABET])
    assert metrics.gaussian_score([ABANDON, SEND], [ABANDON, ABANDON, ABET]) == once
    assert once.score == 0.5


def test_gaussian_score_of_a_collapsed_decoder_shows_one_distinct_row() -> None:
    score = metrics.gaussian_score([ABANDON] * 1000, [ABANDON, ABET, SEND])
    assert (score.score, score.distinct, score.draws) == (1.0, 1, 1000)


def test_gaussian_score_of_no_draws_is_an_error() -> None:
    with pytest.raises(metrics.MetricError, match="no draws"):
        metrics.gaussian_score([], [ABANDON])


@PATIENT
@given(draws=st.lists(paradigms, min_size=1), rows=st.lists(paradigms))
def test_gaussian_score_is_consistent(
    draws: list[metrics.Paradigm], rows: list[metrics.Paradigm]
) -> None:
    score = metrics.gaussian_score(draws, rows)
    assert 0.0 <= score.low <= score.score <= score.high <= 1.0
    assert score.distinct <= min(round(score.score * score.draws), len(set(rows)))


# Variety

SIZES = [(1, 1000), (2, 1000), (40, 50), (40, 1000), (1200, 1000), (4381, 1000), (7, 7), (3, 1)]


def variety(draws: Sequence[int | None], rows: int) -> float:
    """Of draws from rows 0, 1, ...; None is no row."""
    hits = Counter(draw for draw in draws if draw is not None)
    return metrics.gaussian_variety(list(hits.values()), rows=rows, draws=len(draws))


def occupancy_variance(rows: int, draws: int) -> float:
    """Of the number of different rows among uniform draws."""
    empty, both = (1 - 1 / rows) ** draws, max(0.0, 1 - 2 / rows) ** draws
    return rows * (rows - 1) * both + rows * empty - (rows * empty) ** 2


@pytest.mark.parametrize(
    ("rows", "draws"), [(1, 3), (2, 2), (2, 7), (3, 3), (3, 6), (4, 5), (5, 3)]
)
def test_variety_of_uniform_draws_is_1_in_expectation(rows: int, draws: int) -> None:
    """Over all sequences of draws that there are."""
    values = [variety(drawn, rows) for drawn in product(range(rows), repeat=draws)]
    assert math.fsum(values) / len(values) == pytest.approx(1.0, abs=1e-12)
    variance = math.fsum((value - 1.0) ** 2 for value in values) / len(values)
    size = min(rows, draws)
    uniform = rows * (1 - (1 - 1 / rows) ** size)
    most = size / draws * occupancy_variance(rows, size) / uniform**2
    assert variance <= most + 1e-12
    if draws <= rows:
        assert variance == pytest.approx(most, abs=1e-12)


@pytest.mark.parametrize(("rows", "draws"), [(1, 4), (2, 5), (3, 4), (4, 3)])
def test_variety_of_uniform_hits_is_the_gaussian_score_in_expectation(
    rows: int, draws: int
) -> None:
    """One draw in ``rows + 1`` is no row."""
    sequences = list(product([None, *range(rows)], repeat=draws))
    mean = math.fsum(variety(drawn, rows) for drawn in sequences) / len(sequences)
    assert mean == pytest.approx(rows / (rows + 1), abs=1e-12)


@PATIENT
@given(
    weights=st.lists(st.integers(0, 9), min_size=2, max_size=4).filter(any),
    draws=st.integers(1, 5),
)
def test_variety_never_exceeds_the_gaussian_score_in_expectation(
    weights: list[int], draws: int
) -> None:
    """Rows of unequal weight; the last weight is that of draws that are no row."""
    *rows, _ = weights
    total, mean = sum(weights), 0.0
    for drawn in product(range(len(weights)), repeat=draws):
        chance = math.prod(weights[draw] / total for draw in drawn)
        seen = [None if draw == len(rows) else draw for draw in drawn]
        mean += chance * variety(seen, len(rows))
    assert mean <= sum(rows) / total + 1e-12


@pytest.mark.parametrize(("rows", "draws"), SIZES)
def test_variety_at_its_ends(rows: int, draws: int) -> None:
    chance = random.Random(rows)
    uniform = [variety([chance.randrange(rows) for _ in range(draws)], rows) for _ in range(30)]
    size = min(rows, draws)
    spread = math.sqrt(
        size / draws * occupancy_variance(rows, size) / (rows * (1 - (1 - 1 / rows) ** size)) ** 2
    )
    assert sum(uniform) / 30 == pytest.approx(1.0, abs=4 * spread / math.sqrt(30) + 1e-12)
    assert variety([None] * draws, rows) == 0.0
    assert 1 / rows - 1e-12 <= variety([0] * draws, rows) <= 1.59 / size


@PATIENT
@given(
    drawn=st.lists(st.none() | st.integers(0, 5), min_size=1, max_size=40),
    rows=st.integers(6, 30),
    data=st.data(),
)
def test_a_draw_that_becomes_a_row_never_lowers_the_variety(
    drawn: list[int | None], rows: int, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(drawn) - 1))
    without = [*drawn[:place], None, *drawn[place + 1 :]]
    with_row = [*drawn[:place], data.draw(st.integers(0, rows - 1)), *drawn[place + 1 :]]
    assert variety(with_row, rows) >= variety(without, rows) * (1 - 1e-12)


@PATIENT
@given(drawn=st.lists(st.none() | st.integers(0, 5), min_size=2, max_size=60), data=st.data())
def test_a_repeated_row_that_becomes_a_new_one_raises_the_variety(
    drawn: list[int | None], data: st.DataObject
) -> None:
    repeated = [
        place for place, row in enumerate(drawn) if row is not None and drawn.count(row) > 1
    ]
    assume(repeated)
    rows = data.draw(st.integers(7, 80))
    place = data.draw(st.sampled_from(repeated))
    assert variety([*drawn[:place], 6, *drawn[place + 1 :]], rows) > variety(drawn, rows)


def test_variety_takes_hits_as_rarefaction_does() -> None:
    """Of four hits on two rows, 3 and 1: among two of the four both rows are three times in six."""
    assert metrics.gaussian_variety([3, 1], rows=2, draws=8) == pytest.approx(0.5 * 1.5 / 1.5)


@pytest.mark.parametrize(
    ("counts", "rows", "draws"),
    [([3], 1, 2), ([1, 1], 1, 2), ([0], 1, 1), ([], 0, 0), ([-1], 5, 5)],
)
def test_variety_of_impossible_counts_is_an_error(counts: list[int], rows: int, draws: int) -> None:
    with pytest.raises(metrics.MetricError):
        metrics.gaussian_variety(counts, rows=rows, draws=draws)


def test_novel_share_counts_each_novel_paradigm_once() -> None:
    heal = ("heal", "heals", "healing", "healed")
    nonsense = ("hx", "hxs", "hxing", "hxed")
    draws = [ABANDON, heal, heal, heal, nonsense]
    assert metrics.novel_share(draws, [ABANDON, ABET], {heal, SEND}.__contains__) == 0.5


def test_novel_share_is_none_when_nothing_novel_was_said() -> None:
    assert metrics.novel_share([ABANDON, ABANDON], [ABANDON], lambda _: True) is None
    assert metrics.novel_share([], [ABANDON], lambda _: True) is None


# The latent


def test_active_units_counts_the_means_that_move() -> None:
    # Variances: 0, 0.0081, 0.04, 1; over n - 1 the second would be 0.0162 and pass.
    means = torch.tensor([[3.0, 0.09, 0.2, 1.0], [3.0, -0.09, -0.2, -1.0]])
    assert metrics.active_units(means) == 2
    assert metrics.active_units(means, threshold=0.5) == 1
    assert metrics.active_units(means[:1]) == 0


def normal(
    means: torch.Tensor, logvars: torch.Tensor, draw_count: int, seed: int = 0
) -> torch.Tensor:
    """Return draws (rows, draw_count, latent) from every row's posterior."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(
        len(means), draw_count, means.shape[1], generator=generator, dtype=means.dtype
    )
    return means.unsqueeze(1) + noise * torch.exp(logvars / 2).unsqueeze(1)


@pytest.mark.parametrize("row_count", [2, 37, 200])
def test_mutual_information_of_separate_rows_is_log_n(row_count: int) -> None:
    means = 10.0 * torch.arange(row_count, dtype=torch.float32).unsqueeze(1).repeat(1, 3)
    logvars = torch.full_like(means, -4.0)
    information = metrics.mutual_information(means, logvars, normal(means, logvars, 1))
    assert information == pytest.approx(math.log(row_count), abs=1e-9)


def test_mutual_information_of_equal_rows_is_zero() -> None:
    means, logvars = torch.full((40, 2), 3.0), torch.full((40, 2), -1.0)
    information = metrics.mutual_information(means, logvars, normal(means, logvars, 3))
    assert information == pytest.approx(0.0, abs=1e-6)


def test_mutual_information_of_half_the_rows_equal() -> None:
    # Forty rows in two far groups of twenty: the latent names the group only.
    means = torch.tensor([[0.0]] * 20 + [[100.0]] * 20)
    logvars = torch.zeros_like(means)
    information = metrics.mutual_information(means, logvars, normal(means, logvars, 2))
    assert information == pytest.approx(math.log(2.0), abs=1e-6)


def test_mutual_information_of_a_gaussian_channel() -> None:
    # Means ~ N(0, 1), noise variance 1/8: q(z) is near N(0, 9/8), MI = 1/2 log(1 + 8) nats.
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(2000, 1, generator=generator, dtype=torch.float64)
    logvars = torch.full_like(means, math.log(1 / 8))
    information = metrics.mutual_information(means, logvars, normal(means, logvars, 4))
    assert information == pytest.approx(0.5 * math.log(9.0), abs=0.03)


def test_mutual_information_is_the_difference_of_two_kls() -> None:
    generator = torch.Generator().manual_seed(3)
    means = torch.randn(30, 2, generator=generator, dtype=torch.float64)
    logvars = torch.randn(30, 2, generator=generator, dtype=torch.float64) - 1.0
    samples = normal(means, logvars, 2000)
    flat = samples.reshape(-1, 1, 2)
    posterior = torch.distributions.Normal(means, torch.exp(logvars / 2))
    log_q = torch.logsumexp(posterior.log_prob(flat).sum(dim=2), dim=1) - math.log(30)
    log_p = torch.distributions.Normal(0.0, 1.0).log_prob(flat).sum(dim=(1, 2))
    expected = kl_per_unit(Gaussian(means, logvars)).sum(dim=1).mean() - (log_q - log_p).mean()
    information = metrics.mutual_information(means, logvars, samples)
    assert information == pytest.approx(float(expected), abs=0.03)


@pytest.mark.parametrize("chunk", [1, 7, 64, 10_000])
def test_mutual_information_does_not_depend_on_the_chunk(chunk: int) -> None:
    means = torch.linspace(-2.0, 2.0, 25).unsqueeze(1).repeat(1, 2)
    logvars = torch.full_like(means, -1.0)
    samples = normal(means, logvars, 3)
    whole = metrics.mutual_information(means, logvars, samples)
    assert metrics.mutual_information(means, logvars, samples, chunk=chunk) == pytest.approx(whole)


def test_mutual_information_takes_one_sample_a_row() -> None:
    means = torch.linspace(-2.0, 2.0, 25).unsqueeze(1)
    logvars = torch.full_like(means, -1.0)
    samples = normal(means, logvars, 1)
    assert metrics.mutual_information(means, logvars, samples.squeeze(1)) == (
        metrics.mutual_information(means, logvars, samples)
    )


@PATIENT
@given(seed=st.integers(0, 1000), logvar=st.floats(-25.0, 4.0))
def test_mutual_information_never_passes_log_n(seed: int, logvar: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    means = 5.0 * torch.randn(9, 2, generator=generator)
    logvars = torch.full_like(means, logvar)
    information = metrics.mutual_information(means, logvars, normal(means, logvars, 2, seed))
    assert information <= math.log(9) + 1e-12


@pytest.mark.parametrize(
    ("means", "samples", "chunk"),
    [
        (torch.zeros(0, 2), torch.zeros(0, 2), 8),
        (torch.zeros(3), torch.zeros(3), 8),
        (torch.zeros(3, 2), torch.zeros(4, 2), 8),
        (torch.zeros(3, 2), torch.zeros(3, 5, 1), 8),
        (torch.zeros(3, 2), torch.zeros(3, 0, 2), 8),
        (torch.zeros(3, 2), torch.zeros(3, 2), 0),
    ],
)
def test_mutual_information_refuses_shapes_that_do_not_belong_together(
    means: torch.Tensor, samples: torch.Tensor, chunk: int
) -> None:
    with pytest.raises(metrics.MetricError, match="allowed"):
        metrics.mutual_information(means, torch.zeros_like(means), samples, chunk=chunk)


def linear_gaussian_log_weights(
    x: torch.Tensor, mean: torch.Tensor, variance: float, sample_count: int
) -> torch.Tensor:
    """Return log weights of z ~ N(0, 1), x | z ~ N(z, 1) under q(z|x) = N(mean, variance)."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(len(x), sample_count, generator=generator, dtype=torch.float64)
    z = mean.unsqueeze(1) + noise * math.sqrt(variance)

    def log_prob(value: torch.Tensor, mean: torch.Tensor, variance: float) -> torch.Tensor:
        return torch.distributions.Normal(mean, math.sqrt(variance)).log_prob(value)

    return (
        log_prob(x.unsqueeze(1), z, 1.0)
        + log_prob(z, torch.zeros_like(z), 1.0)
        - log_prob(z, mean.unsqueeze(1).expand_as(z), variance)
    )


X = torch.tensor([-2.0, 0.0, 0.5, 3.0], dtype=torch.float64)
TRUE_NLL = float((0.5 * math.log(4.0 * math.pi) + X.square() / 4.0).mean())  # x ~ N(0, 2)


@pytest.mark.parametrize("sample_count", [1, 5])
def test_importance_weighted_nll_is_exact_under_the_true_posterior(sample_count: int) -> None:
    log_weights = linear_gaussian_log_weights(X, X / 2.0, 0.5, sample_count)
    assert metrics.importance_weighted_nll(log_weights) == pytest.approx(TRUE_NLL, abs=1e-9)


def test_importance_weighted_nll_reaches_the_evidence_from_a_wrong_posterior() -> None:
    log_weights = linear_gaussian_log_weights(X, torch.zeros_like(X), 1.0, 20_000)
    estimate = metrics.importance_weighted_nll(log_weights)
    assert estimate == pytest.approx(TRUE_NLL, abs=0.02)
    negative_elbo = -float(log_weights.mean())
    assert negative_elbo > TRUE_NLL + 0.5


def test_importance_weighted_nll_golden_value() -> None:
    log_weights = torch.log(torch.tensor([[0.1, 0.3], [0.5, 0.5]]))
    expected = -(math.log(0.2) + math.log(0.5)) / 2.0
    assert metrics.importance_weighted_nll(log_weights) == pytest.approx(expected, rel=1e-6)


def test_importance_weighted_nll_does_not_underflow() -> None:
    assert metrics.importance_weighted_nll(torch.full((3, 4), -5000.0)) == pytest.approx(5000.0)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (4,)])
def test_importance_weighted_nll_of_nothing_is_an_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(metrics.MetricError, match=r"allowed: \(rows, samples\)"):
        metrics.importance_weighted_nll(torch.zeros(shape))


# Posterior collapse


def test_collapse_is_named_with_its_numbers() -> None:
    warning = metrics.collapse_warning(0.0123, 0, 0.0045, latent_size=16)
    assert warning is not None
    for part in ("posterior collapse", "0.012", "0 of 16", "0.004", "0.69", "free_bits"):
        assert part in warning


def test_a_latent_in_use_gives_no_warning() -> None:
    assert metrics.collapse_warning(9.0, 4, 7.0, latent_size=4, distinct_paradigms=500) is None
    assert metrics.collapse_warning(9.0, 4, latent_size=4) is None


def test_collapse_is_seen_behind_a_large_kl() -> None:
    # Every word has the same posterior, far from the prior.
    assert metrics.collapse_warning(30.0, 0, 0.0, latent_size=4) is not None


def test_collapse_is_seen_without_the_mutual_information() -> None:
    assert metrics.collapse_warning(0.1, 1, latent_size=4) is not None
    assert metrics.collapse_warning(30.0, 0, latent_size=4) is not None


def test_a_decoder_that_ignores_the_latent_is_named() -> None:
    warning = metrics.collapse_warning(9.0, 4, 7.0, latent_size=4, distinct_paradigms=1)
    assert warning is not None
    assert "same paradigm" in warning


def test_collapse_of_an_encoder_that_says_the_prior() -> None:
    means, logvars = torch.zeros(100, 4), torch.zeros(100, 4)
    kl = float(kl_per_unit(Gaussian(means, logvars)).sum(dim=1).mean())
    units = metrics.active_units(means)
    information = metrics.mutual_information(means, logvars, normal(means, logvars, 1))
    assert (kl, units) == (0.0, 0)
    assert metrics.collapse_warning(kl, units, information, latent_size=4) is not None


def test_distinct_paradigms_are_counted_whether_rows_or_not() -> None:
    same, other = ("a", "as", "aing", "aed"), ("a", "as", "aing", "aid")
    assert metrics.distinct_paradigms([same] * 50) == 1
    assert metrics.distinct_paradigms([same, other, same]) == 2
    with pytest.raises(metrics.MetricError, match="no draws"):
        metrics.distinct_paradigms([])


# Confidence


def test_calibration_error_of_an_example_by_hand() -> None:
    """Two bins of equal width hold (0.2, 0.4) and (0.9): |0.5 - 0.3| * 2/3 + |1 - 0.9| * 1/3."""
    shares, right = [0.9, 0.2, 0.4], [True, False, True]
    found = metrics.calibration_error(shares, right, bins=2)
    assert found == pytest.approx(0.2 * 2 / 3 + 0.1 / 3)
    # Of equal mass: (0.2, 0.4) and (0.9) again; with three bins each stands alone.
    assert metrics.calibration_error(shares, right, bins=2, equal_mass=True) == pytest.approx(found)
    alone = metrics.calibration_error(shares, right, bins=3, equal_mass=True)
    assert alone == pytest.approx((0.2 + 0.6 + 0.1) / 3)


def test_calibration_error_at_its_ends() -> None:
    assert metrics.calibration_error([1.0, 0.0], [True, False]) == 0.0
    assert metrics.calibration_error([1.0, 0.0], [False, True]) == 1.0


def test_reliability_leaves_out_empty_bins_and_counts_every_answer() -> None:
    bins = metrics.reliability([0.0, 0.05, 1.0], [False, True, True], bins=10)
    assert [(part.count, part.accuracy) for part in bins] == [(2, 0.5), (1, 1.0)]
    assert bins[0].probability == pytest.approx(0.025)


@pytest.mark.parametrize(
    ("shares", "right"), [([], []), ([0.5], []), ([1.1], [True]), ([math.nan], [True])]
)
def test_reliability_refuses_what_does_not_belong_together(
    shares: list[float], right: list[bool]
) -> None:
    with pytest.raises(metrics.MetricError):
        metrics.reliability(shares, right)
