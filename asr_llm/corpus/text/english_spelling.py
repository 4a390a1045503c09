"""American spelling: general words by Whisper's table, medical words by rules.

Medicine builds words from roots, so the roots are rewritten ("haem" in methaemoglobinaemia), only
where British and American spelling differ: "aerobic", "vertebrae", "coenzyme" and
"gastroesophageal" are the same in both.
"""

from __future__ import annotations

import re
from functools import lru_cache

from asr_llm.corpus.text import openai


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_KEPT = _set(
    # Names of genera and species, of drugs, and words that only look British.
    "haemophilus haemolyticus haemolytica gonorrhoeae laevis caecilian caecilians leucovorin "
    "graeme annalise daemon daemons daemonic "
    "angioedema myoedema analyses paralyses dialyses catalyses "
    "aesthetic aesthetics aesthetically arise arises arising cerise denise valise valises "
    "treatise treatises metropolises trellises penises clitorises oasises"
)
_WHOLE = {
    "haem": "heme",
    "haems": "hemes",
    "caesarian": "cesarean",
    "caesarians": "cesareans",
    "angiooedema": "angioedema",
    "aluminium": "aluminum",
    "neurone": "neuron",
    "neurones": "neurons",
    "amoxycillin": "amoxicillin",
    "orthopaedist": "orthopedist",
    "archaeology": "archeology",  # the table has a piece of HTML
}
# A root at the start of a word, or after a prefix that does not end in the "o" before it: American
# has gastro-esophageal and phyto-estrogen, whose "oe" is no digraph.
_START = (
    r"(?:(?<![a-z])|(?<=[ao])|(?<=peri)|(?<=semi)|(?<=anti)|(?<=yl)|(?<=trans)|(?<=sub)|(?<=mid))"
)
_RULES = tuple(
    (re.compile(pattern), american)
    for pattern, american in (
        # ae
        ("aem", "em"),  # haemorrhage, anaemia, hypoglycaemic
        (r"(?<=[a-z])aesth", "esth"),  # anaesthetic, but aesthetic
        ("anaes", "anes"),
        ("paed", "ped"),  # paediatric, orthopaedic
        ("gynaec", "gynec"),
        ("caec", "cec"),  # caecum
        ("faec", "fec"),  # faecal
        ("aetio", "etio"),
        ("caesarean", "cesarean"),
        ("caesium", "cesium"),
        ("caerul", "cerul"),
        ("caeliac", "celiac"),
        (r"(?<![a-z])naev", "nev"),  # naevus
        ("praevi", "previ"),  # placenta praevia
        ("laevo", "levo"),
        ("laevul", "levul"),
        ("phaeochrom", "pheochrom"),
        ("palaeo", "paleo"),
        (r"(?<![a-z])aegophon", "egophon"),
        ("synaeresis", "syneresis"),
        # oe
        ("pnoe", "pne"),  # dyspnoea, apnoeic
        ("rrhoe", "rrhe"),  # diarrhoea, rhinorrhoea
        (r"(?<!angi)oedem", "edem"),
        (_START + "oesoph", "esoph"),
        (_START + "oestr", "estr"),
        (r"(?<![a-z])(an|met|di)oestr", r"\1estr"),
        ("foet", "fet"),
        ("coelia", "celia"),
        ("coelio", "celio"),
        (r"coele(?=s?$)", "cele"),  # hydrocoele, but coelenterate
        ("homoeo", "homeo"),
        ("amoeb", "ameb"),
        ("copoei", "copei"),  # pharmacopoeia
        ("manoeuv", "maneuv"),
        # Others
        ("leuco(?!vorin)", "leuko"),
        ("leuc(?=em)", "leuk"),
        ("sulph", "sulf"),
        (r"(tit|goit|lit|met|cent|theat|fib|calib)re(?=s?$)", r"\1er"),
        (
            r"(tumo|odo|colo|labo|havio|humo|vapo|flavo|favo|ighbo|harbo|vigo|rigo|savo|savio|hono"
            r"|endeavo|armo|rumo)ur",
            r"\1r",
        ),
        (
            r"(?<![a-z])(psychoanal|urinal|anal|paral|catal|haemodial|hemodial|dial|hydrol|"
            r"electrol|hemol|autol|proteol|fibrinol|thrombol)ys(?=(?:e|ed|er|ers|ing)$)",
            r"\1yz",
        ),
        (
            r"((?:ic|(?<!pr)om|im|(?<=[a-z])[eaou]r|id|od|ard|[aeio]t|[a-z]{2}n|[aiyoul]l|[aeo]s|g|th"
            r"|ph)i)"
            r"s(?=(?:e|ed|es|er|ers|ing|able|ation|ations|ational)$)",
            r"\1z",
        ),
        (
            r"(label|counsel|model|signal|channel|travel|cancel|fuel|level|dial|total|tunnel|panel)"
            r"l(?=(?:ed|ing|er|ers|or|ors)$)",
            r"\1",
        ),
    )
)
# No word without one of these is touched by a rule.
_LOOK = re.compile("ae|oe|our|re|is|ys|uc|lp|ll")


@lru_cache(maxsize=200_000)
def american(word: str) -> str:
    """The American spelling of a lower-case word: oedema → edema, titre → titer."""
    if word in _KEPT:
        return word
    word = _WHOLE.get(word) or openai.spellings().get(word, word)
    if len(word) < 5 or not _LOOK.search(word):
        return word
    for pattern, replacement in _RULES:
        word = pattern.sub(replacement, word)
    return word
