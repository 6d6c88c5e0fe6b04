"""Reranked conversions: the scores of each candidate, and the shortcut that saves most beams."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from shared import DEFAULT, REPORT

from cvae import evaluation, reranking
from cvae.alphabet import EOS, PAD, SOS, decode
from cvae.batches import words_to_tensor
from cvae.model import ConditionalVAE, build_model
from cvae.reranking import rerank

CPU = torch.device("cpu")
PAIRS = [
    (word, source, target)
    for word in ("walk", "a", "internationalize")
    for source, target in ((0, 3), (3, 0), (1, 2))
]
SIZES = {
    "report": REPORT,
    "report_symbol": {**REPORT, "feedback": "symbol"},
    "default": DEFAULT,
}


@pytest.fixture(params=list(SIZES))
def model(request: pytest.FixtureRequest) -> ConditionalVAE:
    torch.manual_seed(11)
    network = build_model(request.param.split("_")[0], **SIZES[request.param])
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(3.0)  # untrained weights give the same output for every input
        network.decoder.out.bias[EOS] += 1.0
        network.decoder.out.bias[SOS] = -50.0  # not a letter, and skipped before the first one
    return network.eval()


def test_one_candidate_is_the_greedy_word(model: ConditionalVAE) -> None:
    answers = rerank(model, PAIRS, CPU, width=1)
    words = evaluation.convert(model, PAIRS, CPU)
    assert [answer.word for answer in answers] == [answer.greedy for answer in answers] == words
    assert all(len(answer.candidates) == 1 for answer in answers)


def test_candidates_are_different_words_in_the_order_of_their_scores(
    model: ConditionalVAE,
) -> None:
    answers = rerank(model, PAIRS, CPU, width=5)
    several = [answer for answer in answers if len(answer.candidates) > 1]
    assert several
    for answer in several:
        words = [found.word for found in answer.candidates]
        assert len(set(words)) == len(words) <= 5
        assert all(a.score >= b.score for a, b in pairwise(answer.candidates))


def test_the_scores_are_the_models_log_probabilities(model: ConditionalVAE) -> None:
    if getattr(model.decoder, "feedback", "symbol") == "output":
        pytest.skip("fed its own outputs, a word has another probability than when forced")
    answers = rerank(model, PAIRS, CPU, width=3)
    for (word, source, target), answer in zip(PAIRS, answers, strict=True):
        asked, tense, wanted = (
            words_to_tensor([word]),
            torch.tensor([source]),
            torch.tensor([target]),
        )
        with torch.no_grad():
            code = model.encode(asked.symbols, asked.lengths, tense).mean
            reading = model.reconstruction(code, tense, asked.symbols)
            assert answer.reading == pytest.approx(-float(reading), abs=1e-3)
            for found in answer.candidates:
                if "?" in found.word or len(found.word) > 24:
                    continue
                said = words_to_tensor([found.word])
                forward = model.reconstruction(code, wanted, said.symbols)
                theirs = model.encode(said.symbols, said.lengths, wanted).mean
                back = model.reconstruction(theirs, tense, asked.symbols)
                assert found.forward == pytest.approx(-float(forward), abs=1e-3)
                assert found.back == pytest.approx(-float(back), abs=1e-3)


def test_an_answer_does_not_depend_on_its_neighbours(model: ConditionalVAE) -> None:
    together = rerank(model, PAIRS, CPU, width=3)
    for pair, answer in zip(PAIRS, together, strict=True):
        alone = rerank(model, [pair], CPU, width=3)[0]
        assert alone.word == answer.word
        assert alone.candidates[0].score == pytest.approx(answer.candidates[0].score, abs=1e-3)
    assert rerank(model, [], CPU) == []


def test_a_beam_is_searched_only_where_it_could_change_the_answer(
    model: ConditionalVAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With sources that every answer leads back to, what the decoder is sure of is the answer."""

    def leads_back(model: object, codes: torch.Tensor, *_: object) -> torch.Tensor:
        return torch.zeros(len(codes))

    monkeypatch.setattr(reranking, "log_probabilities", leads_back)
    answers = rerank(model, PAIRS, CPU, width=4)
    for answer in answers:
        p = torch.tensor(max(found.forward for found in answer.candidates)).exp()
        assert (len(answer.candidates) == 1) == bool(p > 0.5) or abs(p - 0.5) < 0.01


def test_the_word_that_leads_back_wins(
    model: ConditionalVAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = rerank(model, PAIRS[:1], CPU, width=6)[0]
    if len(plain.candidates) == 1:
        pytest.skip("this model is sure of its word")
    last = plain.candidates[-1].word

    def only_the_last(self: object, rows: torch.Tensor, symbols: torch.Tensor) -> torch.Tensor:
        said = [decode(row) for row in symbols.tolist()]
        return torch.tensor([0.0 if word == last else -90.0 for word in said])

    monkeypatch.setattr(reranking._Asked, "back", only_the_last)
    assert rerank(model, PAIRS[:1], CPU, width=6)[0].word == last


def test_a_decoded_word_is_cut_behind_its_end() -> None:
    words = reranking._as_words(torch.tensor([[3, EOS, 5], [EOS, EOS, EOS], [1, 2, 3]]))
    assert words.lengths.tolist() == [2, 1, 4]
    assert words.symbols.tolist() == [
        [3, EOS, PAD, PAD],
        [EOS, PAD, PAD, PAD],
        [1, 2, 3, EOS],
    ]
