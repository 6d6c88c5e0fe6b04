"""The tense of a word without one: what the endings and what the model say."""

from __future__ import annotations

import pytest
import torch
from shared import DEFAULT

from cvae.batches import words_to_tensor
from cvae.model import ConditionalVAE, Gaussian, build_model
from cvae.source_tense import infer_tenses


@pytest.fixture(scope="module")
def model() -> ConditionalVAE:
    torch.manual_seed(1)
    return build_model("default", **DEFAULT).eval()


def test_endings_decide_if_the_model_finds_all_tenses_equally_likely() -> None:
    class Indifferent:
        """A model for which every word is equally likely in every tense."""

        def encode(self, symbols: torch.Tensor, *_: object) -> Gaussian:
            return Gaussian(torch.zeros(len(symbols), 1), torch.zeros(len(symbols), 1))

        def reconstruction(self, code: object, tense: torch.Tensor, _: object) -> torch.Tensor:
            return torch.zeros(len(tense))

    words = {
        "walk": 0, "walks": 1, "walking": 2, "walked": 3, "sent": 0, "bring": 0, "shed": 0,
        "miss": 0, "bus": 0, "has": 1, "is": 1, "does": 1, "being": 2, "dying": 2, "tied": 3,
        "dyed": 3, "need": 0, "used": 3, "x": 0, "s": 0, "ing": 0, "ed": 0,
    }  # fmt: skip
    model = Indifferent()
    assert infer_tenses(model, list(words)) == list(words.values())  # type: ignore[arg-type]


def test_the_model_decides_what_endings_leave_open(model: ConditionalVAE) -> None:
    words = ["send", "sent", "drank", "put", "need"]
    packed = words_to_tensor(words)
    losses = []
    for tense in (0, 3):
        tenses = torch.full((len(words),), tense)
        code = model.encode(packed.symbols, packed.lengths, tenses).mean
        losses.append(model.reconstruction(code, tenses, packed.symbols))
    likelier = torch.stack(losses).argmin(dim=0) * 3
    found = infer_tenses(model, words)
    assert [tense for tense in found if tense in (0, 3)] == found == likelier.tolist()


def test_the_tense_of_a_word_does_not_depend_on_its_neighbours(model: ConditionalVAE) -> None:
    words = ["send", "internationalized", "a", "walks"]
    assert infer_tenses(model, words) == [infer_tenses(model, [word])[0] for word in words]
