"""Finds candidates for terms, and neighbouring words that form a phrase.

``terms`` describes the rules.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from functools import cache
from itertools import pairwise

from asr_llm.corpus.terms.words import FUNCTION, Token


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


RARE = 3.5
"""Zipf frequency (log10 of occurrences in 10^9 words) under which a word is a candidate."""
KNOWN = 4.5
"""Zipf frequency from which a word alone is none, however often the text has it."""
_UNCOMMON = 4.3  # Zipf frequency under which a word belongs to the candidate beside it
_KEYNESS = 1.5  # log10 of how many times more frequent than in general language
_TOGETHER = 0.5  # NPMI from which neighbours are one phrase
_SHARE = 0.2  # of the rarer word's places beside the other, under which even candidates are none
_SMALL_SHARE = 0.9  # the same for a small word that is English too: "in loco parentis"

_SHAPE = re.compile(
    r"\w{2,}(itis|ectomy|ostomy|otomy|plasty|scopy|centesis|emia|uria|opathy|osis|algia|penia"
    r"|megaly|plegia|paresis|rrhea|iasis|statin|pril|sartan|olol|azole|mycin|cillin|floxacin"
    r"|gliptin|gliflozin|glutide|dipine|oxetine|azepam|triptan|xaban|parin|[aiu]mab|tinib|trix)s?"
)
_HEADS = _set(
    "disease syndrome disorder artery vein nerve gland valve bone tendon ligament muscle duct "
    "act code clause amendment doctrine rule statute"
)
"""Common words that end a phrase whose word before is a candidate."""
_LATIN = _set(
    "ab ad ante causa de ex fide fides in inter intra ipsa ipse ipso jus lex lis mala malum "
    "non novo nunc per post pro qua quid qui quo res se sub sui ultra vires"
)
_ALSO_ENGLISH = _set("in de per post se pro ex")  # not Latin by themselves
VERSUS = frozenset({"v.", "vs.", "v", "vs", "versus"})
_TITLES = _set("mr mrs ms miss mister dr doctor judge justice professor")


class Judge:
    """Knows the words of a text with ``lines`` lines, and their general frequency.

    Args:
        zipf: Zipf frequency of a word in general language.
    """

    def __init__(self, lines: list[list[Token]], zipf: Callable[[str], float]) -> None:
        self.words = Counter(token.key for line in lines for token in line)
        self.pairs = Counter(
            (a.key, b.key) for line in lines for a, b in pairwise(line) if b.joined
        )
        self.total = max(1, self.words.total())
        self.zipf = cache(zipf)
        self.strong = cache(self._strong)

    def _strong(self, word: str) -> str:
        """Why a word is a candidate by itself; empty if it is none."""
        if len(word) < 3 or not any(map(str.isalpha, word)) or word in VERSUS:
            return ""
        zipf = self.zipf(word)
        if shape := self.shape(word):
            return shape
        if zipf < RARE:
            return "rare"
        keyness = 9 + math.log10(self.words[word] / self.total) - zipf
        frequent = self.words[word] >= 3 and keyness >= _KEYNESS
        return "frequent here" if zipf < KNOWN and frequent else ""

    def shape(self, word: str) -> str:
        """The medical ending of a word that is not an everyday one."""
        match = _SHAPE.fullmatch(word)
        return f"-{match[1]}" if match and self.zipf(word) < 4 else ""

    def npmi(self, a: str, b: str) -> float:
        """Normalised pointwise mutual information of neighbours, -1 to 1."""
        together = self.pairs[a, b] / self.total
        if not 0 < together < 1:
            return -1.0
        apart = self.words[a] * self.words[b] / self.total**2
        return math.log(together / apart) / -math.log(together)

    def candidates(self, line: list[Token]) -> list[tuple[str, ...]]:
        """The candidates of a sentence, none within another."""
        cuts, i = [], 0
        while i < len(line):
            end = self._end(line, i)
            cuts.append((i, end))
            i = end
        return [
            tuple(token.key for token in line[start:end])
            for start, end in cuts
            if end - start > 1 or self._stands(line[start])
        ]

    def _stands(self, token: Token) -> bool:
        if token.reference or self.strong(token.key):
            return True
        named = token.capital and len(token.key) > 1 and token.key not in _TITLES
        return named and self.zipf(token.key) < KNOWN

    def _end(self, line: list[Token], i: int) -> int:
        """End of the phrase that starts at ``i``; i + 1 if there is none."""
        end = self._name_end(line, i)
        if i < end < len(line) and line[end].joined and line[end].key in VERSUS:
            after = self._name_end(line, end + 1)
            if after > end + 1 and line[end + 1].joined:
                return after
        end = i + 1
        while end < len(line) and line[end].joined:
            if self._link(line[end - 1], line[end]):
                end += 1
            elif self._bridge(line, end):
                end += 2
            else:
                break
        while end > i + 1 and line[end - 1].key in _ALSO_ENGLISH:
            end -= 1
        return end

    def _name_end(self, line: list[Token], i: int) -> int:
        """End of the capitalised words from ``i`` on; i if there are none."""
        if i >= len(line) or not line[i].text[0].isupper():
            return i
        if line[i].initial and self.zipf(line[i].key) >= FUNCTION:
            return i
        i += 1
        while i < len(line) and line[i].joined:
            if line[i].text[0].isupper():
                i += 1
            elif self._bridge(line, i):
                i += 2
            else:
                break
        return i

    def _bridge(self, line: list[Token], i: int) -> bool:
        """Whether the word at ``i`` joins two names: "Board of Education"."""
        if line[i].key not in ("of", "&") or i + 1 >= len(line) or not line[i + 1].joined:
            return False
        before, after = line[i - 1], line[i + 1]
        return after.text[0].isupper() and (before.capital or before.text[0].isupper())

    def _link(self, a: Token, b: Token) -> bool:
        """Whether two neighbours belong to one phrase."""
        if a.reference or b.reference or a.key in _TITLES or a.key in VERSUS or b.key in VERSUS:
            return False
        if b.capital:
            return a.text[0].isupper() and (a.capital or self.zipf(a.key) < FUNCTION)
        if self._latin(a.key, b.key):
            return True
        endings = ("ed", "ly")
        if a.key.endswith(endings) or b.key.endswith(endings):
            return False
        frequencies = self.zipf(a.key), self.zipf(b.key)
        share = self.share(a.key, b.key)
        if max(frequencies) >= FUNCTION or share < _SHARE:
            return False
        alone = [self.alone(a.key) or (a.capital and frequencies[0] < KNOWN), self.alone(b.key)]
        uncommon = max(frequencies) < _UNCOMMON or all(alone)
        if uncommon and any(alone):
            return True
        if b.key in _HEADS and (alone[0] or frequencies[0] < _UNCOMMON):
            return True
        often = self.pairs[a.key, b.key] >= 2 and self.npmi(a.key, b.key) >= _TOGETHER
        return often and (any(alone) or max(frequencies) < KNOWN)

    def alone(self, word: str) -> bool:
        """Whether a word is a candidate however rare it is in the text."""
        return self.strong(word) not in ("", "frequent here")

    def share(self, a: str, b: str) -> float:
        """How many of the rarer word's places are beside the other."""
        return self.pairs[a, b] / min(self.words[a], self.words[b])

    def _latin(self, a: str, b: str) -> bool:
        """Whether one is a small word of Latin and the other its like or a rare word."""
        if a not in _LATIN and b not in _LATIN:
            return False
        if not all(word in _LATIN or self.alone(word) for word in (a, b)):
            return False
        if any(word in _LATIN and word not in _ALSO_ENGLISH for word in (a, b)):
            return True
        return self.pairs[a, b] >= 2 and self.share(a, b) >= _SMALL_SHARE
