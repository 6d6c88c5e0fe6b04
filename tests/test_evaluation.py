"""Evaluation reorders work for speed; its results equal those computed word by word."""

from __future__ import annotations

import dataclasses
import random

import pytest
import torch
from shared import DEFAULT, REPORT
from torch import Tensor

from cvae import evaluation
from cvae.alphabet import EOS, SOS, decode
from cvae.batches import words_to_tensor
from cvae.data import Dataset, load_table
from cvae.model import ConditionalVAE, Decoder, ReportDecoder, build_model

CPU = torch.device("cpu")
SIZES = {
    "report": {**REPORT, "hidden_size": 24},
    "default": {**DEFAULT, "hidden_size": 24, "encoder_hidden_size": 16},
}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    table = load_table("common")
    return Dataset(**{**vars(table), "train": table.train[:300], "dev": table.dev[:40]})


@pytest.fixture(params=list(SIZES))
def model(request: pytest.FixtureRequest) -> ConditionalVAE:
    torch.manual_seed(11)
    network = build_model(request.param, **SIZES[request.param])
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2.5)  # untrained weights give the same output for every input
    return network.eval()


def test_the_seen_verbs_are_training_verbs_without_the_report_pairs() -> None:
    full = load_table("common")
    split = evaluation.seen_split(full)
    trained = {word for row in full.train for word in row.preferred}
    shown = {word for pair in full.report_pairs for word in (pair.source, *pair.accepted)}
    sources = {pair.source for pair in split.pairs}
    assert len(split.pairs) == 12 * evaluation.SEEN_VERBS
    assert sources <= trained
    assert not shown & sources
    assert split == evaluation.seen_split(full)


def test_without_dev_verbs_the_seen_ones_replace_them_and_are_named() -> None:
    full = load_table("common")
    without = Dataset(**{**vars(full), "dev": ()})
    assert evaluation.dev_split(full).name == "dev"
    assert evaluation.dev_split(without) == evaluation.seen_split(full)
    assert evaluation.dev_split(without).name == "train"


def test_the_exact_match_of_the_training_verbs_counts_every_verb_and_pair(
    model: ConditionalVAE, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A converter that makes every past regular, so its errors are known."""

    def regularised(
        _: object, pairs: list[tuple[str, int, int]], device: torch.device
    ) -> list[str]:
        del device
        forms = {
            (word, source): row.preferred
            for row in dataset.train
            for source, word in enumerate(row.preferred)
        }
        return [
            forms[word, source][target] if target != 3 else forms[word, source][0] + "ed"
            for word, source, target in pairs
        ]

    monkeypatch.setattr(evaluation, "convert", regularised)
    table = evaluation.train_conversions(observations(model, dataset))
    rows = {True: 0, False: 0}
    right = {True: 0, False: 0}
    for row in dataset.train:
        rows[row.regular] += 1
        right[row.regular] += row.preferred[0] + "ed" in row.forms[3]
    assert rows[False] > 10 and right[False] < 0.5 * rows[False] < right[True]
    assert table["train_pairs_regular"] == 12 * rows[True]
    assert table["train_pairs_irregular"] == 12 * rows[False]
    for kind, regular in (("regular", True), ("irregular", False)):
        # Three of the twelve pairs of a verb have the past as target.
        wanted = 0.75 + 0.25 * right[regular] / rows[regular]
        assert table[f"train_exact_match_{kind}"] == pytest.approx(wanted)
    everything = 0.75 + 0.25 * sum(right.values()) / sum(rows.values())
    assert table["train_exact_match"] == pytest.approx(everything)


def observations(model: ConditionalVAE, dataset: Dataset) -> evaluation.Observations:
    return evaluation.Observations(model, dataset, draws=60, importance_samples=3, device=CPU)


@torch.no_grad()
def greedy_by_nn_lstm(model: ConditionalVAE, code: Tensor, tense: Tensor) -> list[str]:
    """Greedy decoding with nn.LSTM, each word up to the maximum length."""
    decoder = model.decoder
    condition = decoder.tense_embedding(tense)
    if isinstance(decoder, ReportDecoder):
        hidden = decoder.latent_to_hidden(torch.cat([code, condition], dim=1))
        zeros = condition.new_zeros(len(code), decoder.zeros_size)
        cell = torch.cat([zeros, condition], dim=1)
    else:
        assert isinstance(decoder, Decoder)
        condition = torch.cat([code, condition], dim=1)
        hidden, cell = torch.tanh(decoder.initial(condition)).chunk(2, dim=1)
    state = (hidden.unsqueeze(0).contiguous(), cell.unsqueeze(0).contiguous())
    fed = decoder.symbol_embedding(torch.full((len(code), 1), SOS))
    said = []
    for _ in range(40):
        if isinstance(decoder, Decoder):
            fed = torch.cat([fed, condition.unsqueeze(1)], dim=2)
        outputs, state = decoder.lstm(fed, state)
        said.append(decoder.out(outputs[:, 0]).argmax(dim=1))
        report = isinstance(decoder, ReportDecoder)
        fed = outputs if report else decoder.symbol_embedding(said[-1]).unsqueeze(1)
    from cvae.alphabet import MAX_WORD_LENGTH

    return [decode(row[: MAX_WORD_LENGTH + 1]) for row in torch.stack(said, dim=1).tolist()]


def test_conversions_are_those_of_nn_lstm_word_by_word(
    model: ConditionalVAE, dataset: Dataset
) -> None:
    pairs = [
        (pair.source, pair.source_tense, pair.target_tense)
        for pair in evaluation.dev_split(dataset).pairs
    ]
    random.Random(0).shuffle(pairs)
    found = evaluation.convert(model, pairs, CPU)
    assert len(set(found)) > 20
    for (word, source, target), said in list(zip(pairs, found, strict=True))[:40]:
        alone = words_to_tensor([word])
        with torch.no_grad():
            code = model.encode(alone.symbols, alone.lengths, torch.tensor([source])).mean
        assert greedy_by_nn_lstm(model, code, torch.tensor([target])) == [said]


def test_generated_paradigms_are_those_of_nn_lstm(model: ConditionalVAE) -> None:
    z = evaluation.prior_bank(model.latent_size, 60, seed=5)
    found = evaluation.generate(model, z, CPU)
    with torch.no_grad():
        codes = model.code_of_latent(z)
    columns = [greedy_by_nn_lstm(model, codes, torch.full((60,), tense)) for tense in range(4)]
    assert len({form for forms in found for form in forms}) > 20
    assert found == list(zip(*columns, strict=True))


def test_words_are_encoded_as_alone_and_in_their_order(
    model: ConditionalVAE, dataset: Dataset
) -> None:
    spelled = [form for row in dataset.train for form in row.preferred]
    words, tenses = words_to_tensor(spelled), torch.arange(4).repeat(len(dataset.train))
    found = evaluation.encode_words(model, words, tenses)
    for index in range(0, len(spelled), 37):
        alone = words_to_tensor([spelled[index]])
        with torch.no_grad():
            wanted = model.encode(alone.symbols, alone.lengths, tenses[index : index + 1])
        torch.testing.assert_close(found.mean[index], wanted.mean[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found.logvar[index], wanted.logvar[0], rtol=1e-4, atol=1e-5)


def test_likelihoods_are_those_of_one_padded_batch(model: ConditionalVAE, dataset: Dataset) -> None:
    seen = observations(model, dataset)
    words = words_to_tensor([form for row in dataset.train for form in row.preferred])
    tenses = torch.arange(4).repeat(len(dataset.train))
    generator = torch.Generator().manual_seed(evaluation.REPORT_BANK_SEED)
    with torch.no_grad():
        codes = model.encode(words.symbols, words.lengths, tenses)
        latent = model.infer_latent(codes)
        columns = []
        for _ in range(seen.importance_samples):
            z = latent.sample(generator)
            losses = model.reconstruction(model.code_of_latent(z), tenses, words.symbols)
            noise = (z - latent.mean) * torch.exp(-0.5 * latent.logvar)
            ratio = 0.5 * (noise.square() + latent.logvar - z.square()).sum(dim=1)
            columns.append(ratio - losses)
        wanted = model.reconstruction(codes.mean, tenses, words.symbols)
    torch.testing.assert_close(seen.reconstruction, wanted, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(seen.log_weights, torch.stack(columns, 1), rtol=1e-4, atol=1e-3)
    assert float(wanted.std()) > 0.1


def test_samples_of_the_posteriors_are_drawn_in_the_words_order(
    model: ConditionalVAE, dataset: Dataset
) -> None:
    posterior, samples = observations(model, dataset).posteriors
    generator = torch.Generator().manual_seed(evaluation.DEV_BANK_SEED)
    assert torch.equal(samples, posterior.sample(generator))


def test_symbols_after_a_words_end_are_its_end(model: ConditionalVAE) -> None:
    z = evaluation.prior_bank(model.latent_size, 200, seed=5)
    with torch.no_grad():
        symbols = model.greedy(model.code_of_latent(z), torch.arange(4).repeat(50))
    ended = (symbols == EOS).cumsum(dim=1) > 0
    assert bool((symbols[ended] == EOS).all())
    assert bool((~ended).any())


@pytest.mark.parametrize("said", ["the truth", "always the present"])
def test_source_tenses_are_right_by_any_known_verb_and_irregular_pasts_count_apart(
    model: ConditionalVAE, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    truth = {form: tense for row in dataset.dev for tense, form in enumerate(row.preferred)}
    answers = truth if said == "the truth" else dict.fromkeys(truth, 0)

    def infer(_: object, words: list[str], device: torch.device) -> list[int]:
        del device
        return [answers[word] for word in words]

    monkeypatch.setattr(evaluation, "infer_tenses", infer)
    table = evaluation.source_tense(observations(model, dataset))
    shares: dict[bool, list[bool]] = {False: [], True: []}
    for row in dataset.dev:
        for tense, form in enumerate(row.preferred):
            known = any(form in other.forms[answers[form]] for other in dataset.known)
            shares[tense == 3 and not row.regular].append(known)
    assert len(shares[True]) >= 3
    assert table == {
        "dev_source_tense": sum(shares[False]) / len(shares[False]),
        "dev_source_tense_irregular_past": sum(shares[True]) / len(shares[True]),
    }
    if said == "the truth":
        assert set(table.values()) == {1.0}
    else:
        assert table["dev_source_tense"] < 0.6  # type: ignore[operator]


def test_reranked_conversions_are_counted_by_kind_and_split(
    model: ConditionalVAE, dataset: Dataset
) -> None:
    few = dataclasses.replace(dataset, dev=dataset.dev[:6], test=())
    seen = observations(model, few)
    pairs = [pair for pair, _ in seen.dev]
    wanted = [(pair.source, pair.source_tense, pair.target_tense) for pair in pairs]
    answers = evaluation.rerank(model, wanted, CPU)
    assert seen.reranked(pairs) == [
        (pair, answer.word) for pair, answer in zip(pairs, answers, strict=True)
    ]
    table = evaluation.reranked_conversions(seen)
    right = [answer.word in pair.accepted for pair, answer in zip(pairs, answers, strict=True)]
    assert table["dev_exact_match_reranked"] == sum(right) / len(right)
    assert {"dev_exact_match_regular_reranked", "test_exact_match_irregular_reranked"} <= set(table)
    assert table["test_exact_match_reranked"] is None
