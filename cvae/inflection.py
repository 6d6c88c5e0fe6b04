"""The rules of regular English verb inflection, without any list of verbs.

:func:`inflect` is the baseline that a learned model must beat: it knows the spelling rules and no
verbs. :func:`convert` is the same baseline for words that are not lemmas. :func:`is_regular` is the
only definition of "regular"; the verb table and the reader of users' files share it.

Spelling depends on stress, which letters do not show: *permit* doubles its last letter
(permitted), *vomit* does not. :func:`inflect` guesses the stress from the shape of the word;
:func:`is_regular` accepts either spelling.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_CONSONANT_Y: Final = re.compile(r"[^aeiou]y$")
_CONSONANT_O: Final = re.compile(r"[^aeiou]o$")
_SIBILANT: Final = re.compile(r"(?:s|x|z|ch|sh)$")
_VOWEL_C: Final = re.compile(r"[aeiou]c$")
_VOWEL_GROUP: Final = re.compile(r"[aeiouy]+")

_SILENT_E: Final = re.compile(r"(?:[^aeiouy]|[aiu])e$")
"""A final e that -ing replaces: bake, argue; not that of agree, hoe, dye."""

_DOUBLING: Final = re.compile(r"(?:^|[^aeiou])[aeiouy][bdfgklmnprstvz]$")
"""One vowel and one of the consonants that English doubles (never h, j, q, w, x, y)."""

_ONSET: Final = (
    r"(?:[bcdfghjklmnprstvwyz]|[bcfgkps]l|[bcdfgptw]r|[cstw]h|s[ckmnptw]|kn|qv|tw"
    r"|sc[lr]|s[pt]r|spl|shr|sqv|thr)"
)
"""How an English syllable may start; ``qv`` stands for qu, whose u is not a vowel."""

_STRESSED_LAST_SYLLABLE: Final = re.compile(
    # Compounds of short words keep a stressed last syllable, and no unstressed English ending
    # looks like these: zigzag, hobnob, kidnap, overstep, program.
    r"[aeiou][bg]$|[ae]p$|am$"
    # The Latin roots -fer, -pel, -cur, -mit are stressed after a prefix: refer, compel, incur,
    # admit. The unstressed endings of offer, gospel, vomit have another letter in front.
    r"|[enos]fer$|^(?:com|dis|ex|im|pro|re)pel$|cur$|(?:^[eo]|[^ilo])mit$"
    # A prefix before a complete short word: forget, outrun, upset, allot, beset, undercut;
    # except words that end like the many unstressed ones in -er, -en, -el, -on, -or.
    r"|^(?:ab?|ac|al|an|be|dis|em|for|fore|in|mis|off?|out|over|per|re|re?sub|sub|trans|un|under"
    r"|up|with)" + _ONSET + r"(?:[aeiou][dfmptvz]|[aiu][lnr])$"
)
"""Words of several syllables whose last one is assumed to be stressed, judged by shape alone."""


def _with_qu_as_consonant(lemma: str) -> str:
    """The u of qu is pronounced w, so quit is consonant-vowel-consonant like sit."""
    return lemma.replace("qu", "qv")


def _doubles(lemma: str) -> bool:
    """Whether the last consonant is doubled before -ing and -ed: stop, begin; not open, visit."""
    shape = _with_qu_as_consonant(lemma)
    if not _DOUBLING.search(shape):
        return False
    # The y of yap is a consonant; the y of gym is the word's vowel.
    syllables = len(_VOWEL_GROUP.findall(shape.removeprefix("y")))
    return syllables == 1 or _STRESSED_LAST_SYLLABLE.search(shape) is not None


def _third_person(lemma: str) -> str:
    if lemma.endswith("z") and _doubles(lemma):
        return lemma + "zes"
    if _SIBILANT.search(lemma) or _CONSONANT_O.search(lemma):
        return lemma + "es"
    if _CONSONANT_Y.search(lemma):
        return lemma[:-1] + "ies"
    return lemma + "s"


def _progressive(lemma: str) -> str:
    if lemma.endswith("ie"):
        return lemma[:-2] + "ying"
    if _SILENT_E.search(lemma):
        return lemma[:-1] + "ing"
    if _VOWEL_C.search(lemma):
        return lemma + "king"
    return lemma + (lemma[-1] if _doubles(lemma) else "") + "ing"


def _past(lemma: str) -> str:
    if lemma.endswith("e"):
        return lemma + "d"
    if _CONSONANT_Y.search(lemma):
        return lemma[:-1] + "ied"
    if _VOWEL_C.search(lemma):
        return lemma + "ked"
    return lemma + (lemma[-1] if _doubles(lemma) else "") + "ed"


def inflect(lemma: str) -> tuple[str, str, str, str]:
    """Return the four forms of ``lemma`` in the order of ``alphabet.TENSES``, by rule alone.

    Example: ``inflect("abandon")`` is ``("abandon", "abandons", "abandoning", "abandoned")``;
    ``inflect("begin")`` ends in ``"beginned"``, since no rule knows *began*.

    Raises:
        ValueError: if ``lemma`` is empty.
    """
    if not lemma:
        raise ValueError("cannot inflect an empty word")
    return lemma, _third_person(lemma), _progressive(lemma), _past(lemma)


def _regular_forms(lemma: str) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """Every regular spelling of the third person, the progressive and the past of ``lemma``."""
    stems = {lemma}
    if lemma[-1] not in "aeiouwxyh":
        stems.add(lemma + lemma[-1])
    if lemma[-1] == "c":
        stems.add(lemma + "k")
    third_person = {stem + ending for stem in stems for ending in ("s", "es")}
    past = {stem + "ed" for stem in stems}
    progressive = {stem + "ing" for stem in stems}
    if lemma.endswith("e"):
        past.add(lemma + "d")
        progressive.add(lemma[:-1] + "ing")
    if lemma.endswith("ie"):
        progressive.add(lemma[:-2] + "ying")
    if _CONSONANT_Y.search(lemma):
        third_person = {lemma[:-1] + "ies"}
        past = {lemma[:-1] + "ied"}
    return frozenset(third_person), frozenset(progressive), frozenset(past)


def is_regular(forms: Sequence[str]) -> bool:
    """Whether four forms (order of ``alphabet.TENSES``) are one lemma with regular endings.

    Spellings that depend on stress or custom, not on the verb being irregular, count as regular
    either way: doubling the last consonant (travelled, traveled; focussed, focused), -s or -es
    (vetos, vetoes), keeping a silent e before -ing (singeing), -cking or -cing. Everything else
    is irregular: one form such as sang, put or has makes the whole verb irregular.

    Raises:
        ValueError: if there are not four forms or the first is empty.
    """
    lemma, third_person, progressive, past = forms
    if not lemma:
        raise ValueError("cannot inflect an empty word")
    allowed = _regular_forms(lemma)
    return third_person in allowed[0] and progressive in allowed[1] and past in allowed[2]


INFLECTION_CLASSES: Final = (
    "adds -ed",
    "final e, adds -d",
    "final y, -ied",
    "stem lengthened",
    "past unchanged",
    "vowel change",
    "past in -t or -d",
    "other irregular",
)
"""The classes of :func:`inflection_class`: four regular ones (walk, bake, try, stop), then four
irregular ones (cut, sing, send, go)."""

REGULAR_CLASSES: Final = 4
"""How many of ``INFLECTION_CLASSES``, from the first, are those of regular verbs."""


def inflection_class(forms: Sequence[str]) -> int:
    """Return the class of four forms, an index into ``INFLECTION_CLASSES``, by spelling alone.

    Regular verbs are told apart by how the stem meets -ed; a lengthened stem doubles its last
    letter (stopped) or adds a k (panicked). An irregular past has another vowel (sang, began),
    or a -t or -d of its own (sent, kept, made), or is the lemma itself (cut); the rest share too
    little with their lemma (went, was). Any four words have a class, also ones that are no verb.
    """
    lemma, _, _, past = forms
    if lemma and is_regular(forms):
        endings = (lemma + "ed", lemma + "d", lemma[:-1] + "ied")
        return endings.index(past) if past in endings else 3
    if past == lemma:
        return 4
    if lemma and past and _consonants(past) == _consonants(lemma):
        return 5
    same_start = lemma[:1] == past[:1]
    return 6 if same_start and past.removesuffix("e").endswith(("t", "d")) else 7


def _consonants(word: str) -> str:
    """The consonants as they sound, roughly: struck is as strike, and swam as swim."""
    letters = re.sub("ck|c", "k", re.sub("[aeiouwy]", "", word))
    return re.sub(r"(.)\1", r"\1", letters)


_KEEPS_DOUBLE: Final = re.compile(r"(?:ss|zz|ff|[^e]ll|^[^aeiou]*u?ell|^add|^egg|^err|^[^c]*urr)$")
"""Stems whose double consonant belongs to the lemma: miss, buzz, call, spell, add, purr."""

_WANTS_E: Final = re.compile(
    # Letters that English does not end a verb with: mov-, argu-, danc-, puls-, rais-, judg-.
    r"[vucz]$|[^s]s$|[rdl]g$|(?:[hr]a|e|u)ng$|[aeiou]g$"
    # tackl-, massacr-, breath-.
    r"|[bcdfgkpstz]l$|[bcdfgkptv]r$|[aeo][aeo]th$"
    # The last vowel is probably long: activat-, comput-, divid-, combin-, inquir-, invok-, compil-.
    r"|(?:^|[^aeiou]|qu)(?:[aeiou]k|[aou]t|[aeiou]d|in|[au]m|im|[iu]r|[iou]l|y[plnmtk])$"
    r"|[iu]at$|[aeiou][^aeiou]*[bcdfgkmnprtvw]ar$|(?:gui|sua)d$"
)
"""Stems that more often lost an e before -ing and -ed than not."""


def _lemma_of_stem(stem: str) -> str:
    """The lemma that -ing or -ed was added to: runn > run, hop > hope, panick > panic."""
    polysyllabic = len(_VOWEL_GROUP.findall(_with_qu_as_consonant(stem))) > 1
    if stem.endswith("ick") and polysyllabic:
        return stem[:-1]
    if len(stem) > 2 and stem[-1] == stem[-2] and stem[-1] not in "aeiou":
        return stem if _KEEPS_DOUBLE.search(stem) else stem[:-1]
    if stem.endswith("zz") or stem.endswith("tz"):
        return stem
    # The lemma would have doubled its last letter, but did not: so it ended in e.
    if _doubles(stem) or _WANTS_E.search(stem):
        return stem + "e"
    return stem


def lemma_of(word: str, tense: int) -> str:
    """Return the lemma that ``word``, a form in ``tense`` (0..3), most likely comes from.

    The answer depends on the shape of the word only. A word without the ending of its tense
    (*sent* as a past) is returned as its own lemma.
    """
    lemma = word
    if tense == 1 and word.endswith("ies"):
        lemma = word[:-1] if len(word) == 4 else word[:-3] + "y"
    elif tense == 1 and re.search(r"(?:ss|x|zz|tz|ch|sh|o)es$", word):
        lemma = word[:-2]
    elif tense == 1 and re.search(r"[^s]s$", word):
        lemma = word[:-1]
    elif tense == 2 and re.search(r"^[dltv]ying$|(?:be|over|under)lying$|untying$", word):
        lemma = word[:-4] + "ie"
    elif tense == 2 and word.endswith("ing"):
        lemma = _lemma_of_stem(word[:-3])
    elif tense == 3 and word.endswith("ied"):
        lemma = word[:-1] if len(word) == 4 else word[:-3] + "y"
    elif tense == 3 and re.search(r"[ey]ed$", word) and not re.search(r"[aeo]yed$", word):
        lemma = word[:-1]
    elif tense == 3 and word.endswith("ed"):
        lemma = _lemma_of_stem(word[:-2])
    return lemma or word


def convert(word: str, source_tense: int, target_tense: int) -> str:
    """Convert ``word`` from ``source_tense`` to ``target_tense`` (both 0..3) by rule alone.

    This is the row "rules" in the tables of results. It always gives an answer, and the answer is
    wrong for irregular verbs.

    Raises:
        ValueError: if ``word`` is empty or a tense is not 0, 1, 2 or 3.
    """
    for tense in (source_tense, target_tense):
        if tense not in range(4):
            raise ValueError(f"tense {tense} is not one of 0, 1, 2, 3")
    if source_tense == target_tense and word:
        return word
    return inflect(lemma_of(word, source_tense))[target_tense]
