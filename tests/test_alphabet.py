"""The numbering of symbols and tenses, and words to symbols and back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cvae.alphabet import (
    EOS,
    LETTERS,
    MAX_WORD_LENGTH,
    PAD,
    SOS,
    SYMBOL_COUNT,
    TENSES,
    decode,
    encode,
)

PATIENT = settings(deadline=None)  # a slow machine is not a failure

words = st.text(alphabet=LETTERS, max_size=MAX_WORD_LENGTH)


def test_the_numbering_is_the_reports() -> None:
    assert [encode(letter)[1] for letter in "abcxyz"] == [0, 1, 2, 23, 24, 25]
    assert (SOS, EOS, PAD, SYMBOL_COUNT) == (26, 27, 28, 29)
    assert TENSES.index("simple_present") == 0
    assert TENSES.index("third_person") == 1
    assert TENSES.index("progressive") == 2
    assert TENSES.index("past") == 3


def test_abandon_is_spelled_as_in_the_report() -> None:
    assert encode("abandon") == [26, 0, 1, 0, 13, 3, 14, 13, 27]


@PATIENT
@given(words)
def test_decoding_undoes_encoding(word: str) -> None:
    assert decode(encode(word)) == word
    assert decode(encode(word)[1:]) == word


@PATIENT
@given(words, st.lists(st.integers(0, SYMBOL_COUNT - 1)))
def test_nothing_after_the_end_is_read(word: str, rest: list[int]) -> None:
    assert decode([*encode(word), *rest]) == word


def test_a_word_without_an_end_is_read_to_its_last_symbol() -> None:
    assert decode([0, 1]) == "ab"
    assert decode([]) == ""


@pytest.mark.parametrize("symbol", [SOS, PAD])
def test_a_control_symbol_inside_a_word_is_no_letter(symbol: int) -> None:
    shown = decode([0, symbol, 1, EOS])
    assert shown == "a?b"
    assert shown != decode([0, 1, EOS])


def test_only_the_first_symbol_may_be_a_silent_start() -> None:
    assert decode([SOS, 0, EOS]) == "a"
    assert decode([SOS, SOS, 0, EOS]) == "?a"


@pytest.mark.parametrize("word", ["Abandon", "re-do", "naïve", "a b", "a\n", "1"])
def test_other_characters_are_refused(word: str) -> None:
    with pytest.raises(KeyError):
        encode(word)
