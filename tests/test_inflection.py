"""The rules of inflection: known spellings, the definition of regular, accuracy on the table."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cvae import inflection
from cvae.data import load_table, pairs_of
from cvae.inflection import convert, inflect, is_regular, lemma_of

words = st.text(alphabet="abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("lemma", "third_person", "progressive", "past"),
    [
        ("abandon", "abandons", "abandoning", "abandoned"),
        ("abet", "abets", "abetting", "abetted"),
        ("argue", "argues", "arguing", "argued"),
        ("agree", "agrees", "agreeing", "agreed"),
        ("bake", "bakes", "baking", "baked"),
        ("buzz", "buzzes", "buzzing", "buzzed"),
        ("die", "dies", "dying", "died"),
        ("dye", "dyes", "dyeing", "dyed"),
        ("fix", "fixes", "fixing", "fixed"),
        ("panic", "panics", "panicking", "panicked"),
        ("play", "plays", "playing", "played"),
        ("push", "pushes", "pushing", "pushed"),
        ("quiz", "quizzes", "quizzing", "quizzed"),
        ("rain", "rains", "raining", "rained"),
        ("refer", "refers", "referring", "referred"),
        ("offer", "offers", "offering", "offered"),
        ("skip", "skips", "skipping", "skipped"),
        ("show", "shows", "showing", "showed"),
        ("try", "tries", "trying", "tried"),
        ("veto", "vetoes", "vetoing", "vetoed"),
        ("visit", "visits", "visiting", "visited"),
    ],
)
def test_regular_verbs_inflect_as_english_spells_them(
    lemma: str, third_person: str, progressive: str, past: str
) -> None:
    forms = (lemma, third_person, progressive, past)
    assert inflect(lemma) == forms
    assert is_regular(forms)
    # Also in the other directions, from each form to each form.
    for source_tense, source in enumerate(forms):
        for target_tense, target in enumerate(forms):
            if lemma not in ("quiz", "veto"):  # quizz- and veto- have two likely lemmas
                assert convert(source, source_tense, target_tense) == target


@pytest.mark.parametrize(
    ("forms", "regular"),
    [
        (("travel", "travels", "travelling", "travelled"), True),
        (("travel", "travels", "traveling", "traveled"), True),
        (("focus", "focusses", "focussing", "focussed"), True),
        (("zero", "zeros", "zeroing", "zeroed"), True),
        (("singe", "singes", "singeing", "singed"), True),
        (("zinc", "zincs", "zincing", "zinced"), True),
        (("begin", "begins", "beginning", "began"), False),
        (("put", "puts", "putting", "put"), False),
        (("have", "has", "having", "had"), False),
        (("lay", "lays", "laying", "laid"), False),
        (("try", "trys", "trying", "tryed"), False),
        (("go", "goes", "going", "went"), False),
        (("stop", "stops", "stopping", "walked"), False),
    ],
)
def test_optional_spellings_count_as_regular(
    forms: tuple[str, str, str, str], regular: bool
) -> None:
    assert is_regular(forms) is regular


def test_irregular_forms_do_not_follow_the_rules() -> None:
    assert inflect("begin") == ("begin", "begins", "beginning", "beginned")
    # A past without -ed is treated as a lemma.
    assert lemma_of("sent", 3) == "sent"
    assert convert("sent", 3, 1) == "sents"


FLOORS = {1: 0.997, 2: 0.990, 3: 0.945}


@pytest.mark.parametrize(("tense", "floor"), FLOORS.items())
def test_rules_reach_their_accuracy_on_the_table(tense: int, floor: float) -> None:
    known = load_table("large").known
    right = sum(inflect(p.preferred[0])[tense] == p.preferred[tense] for p in known)
    assert right / len(known) >= floor


def test_rules_convert_unseen_regular_verbs_in_every_direction() -> None:
    pairs = [pair for pair in pairs_of(load_table("large").test, include_same=False)]
    regular = [pair for pair in pairs if pair.regular]
    irregular = [pair for pair in pairs if not pair.regular]

    def accuracy(chosen: list) -> float:  # type: ignore[type-arg]
        right = sum(convert(p.source, p.source_tense, p.target_tense) in p.accepted for p in chosen)
        return right / len(chosen)

    assert accuracy(regular) >= 0.96
    # Only conversions that neither start from nor end at the past can be right.
    assert accuracy(irregular) <= 0.6


@given(words)
@settings(max_examples=300, deadline=None)
def test_the_rules_give_regular_forms_for_any_letters(lemma: str) -> None:
    forms = inflect(lemma)
    assert forms[0] == lemma
    assert is_regular(forms)
    for source_tense in range(4):
        assert convert(lemma, source_tense, source_tense) == lemma
        for target_tense in range(4):
            converted = convert(lemma, source_tense, target_tense)
            assert converted.isascii() and converted.isalpha() and converted.islower()


def test_an_empty_word_or_an_unknown_tense_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        inflect("")
    with pytest.raises(ValueError, match="empty"):
        convert("", 0, 0)
    with pytest.raises(ValueError, match="empty"):
        is_regular(("", "", "", ""))
    with pytest.raises(ValueError, match="tense 4 is not one of 0, 1, 2, 3"):
        convert("abandon", 0, 4)


@pytest.mark.parametrize(
    ("forms", "name"),
    [
        ("walk walks walking walked", "adds -ed"),
        ("bake bakes baking baked", "final e, adds -d"),
        ("try tries trying tried", "final y, -ied"),
        ("stop stops stopping stopped", "stem lengthened"),
        ("panic panics panicking panicked", "stem lengthened"),
        ("cut cuts cutting cut", "past unchanged"),
        ("swim swims swimming swam", "vowel change"),
        ("begin begins beginning began", "vowel change"),
        ("strike strikes striking struck", "vowel change"),
        ("eat eats eating ate", "vowel change"),
        ("send sends sending sent", "past in -t or -d"),
        ("make makes making made", "past in -t or -d"),
        ("think thinks thinking thought", "past in -t or -d"),
        ("go goes going went", "other irregular"),
        ("be is being was", "other irregular"),
    ],
)
def test_the_class_of_a_verb(forms: str, name: str) -> None:
    assert inflection.INFLECTION_CLASSES[inflection.inflection_class(forms.split())] == name


def test_regular_classes_are_those_of_regular_verbs() -> None:
    for paradigm in load_table("large").train:
        forms = paradigm.preferred
        regular = inflection.inflection_class(forms) < inflection.REGULAR_CLASSES
        assert regular == inflection.is_regular(forms)
