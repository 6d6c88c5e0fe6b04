"""What could be a verb is told from what could not."""

from __future__ import annotations

import math

import pytest

from cvae.data import Forms, Paradigm, load_table
from cvae.inflection import inflect, is_regular
from cvae.well_formed import WellFormed


@pytest.fixture(scope="module")
def judge() -> WellFormed:
    dataset = load_table("common")
    return WellFormed(dataset.train, dataset.dev)


@pytest.mark.parametrize("lemma", ["blork", "retrate", "stell", "clain"])
def test_a_made_up_verb_with_one_stem_may_pass(judge: WellFormed, lemma: str) -> None:
    assert judge(inflect(lemma))


@pytest.mark.parametrize(
    "forms",
    [
        ("walk", "talks", "walking", "walked"),  # two stems
        ("blork", "blorks", "blorking", "blork"),
        inflect("xqztpf"),  # no letters of a verb
        inflect("aaaaaa"),
        ("", "", "", ""),
    ],
)
def test_what_cannot_be_a_verb(judge: WellFormed, forms: Forms) -> None:
    assert not judge(forms)


def test_nineteen_of_twenty_real_verbs_have_letters_like_verbs(judge: WellFormed) -> None:
    """The limit is set by dev verbs; test verbs are not seen."""
    regular = [verb.preferred for verb in load_table("common").test if verb.regular]
    passed = sum(map(judge, regular)) / len(regular)
    assert all(map(is_regular, regular)) and 0.85 < passed < 1.0
    shuffled = [inflect("".join(sorted(forms[0]))) for forms in regular]
    assert sum(map(judge, shuffled)) / len(shuffled) < 0.5 * passed


def test_letters_are_counted_in_the_training_verbs() -> None:
    verbs = [Paradigm(tuple((form,) for form in inflect(lemma)), True) for lemma in ("ab", "ac")]
    judge = WellFormed(verbs, verbs)
    # After the start comes a for certain, then b or c, then the end for certain; Witten and Bell
    # leave a share of each for letters not seen, and a word of other letters is less likely.
    likely = judge.log_probability("ab")
    assert math.isfinite(likely) and likely == pytest.approx(judge.log_probability("ac"))
    assert likely > judge.log_probability("aa") > judge.log_probability("bb")
