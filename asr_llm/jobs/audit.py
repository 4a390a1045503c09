"""The job behind ``asr-llm domain audit``: which listed terms a recogniser gets wrong.

No recording is needed: every term is synthesised in carrier sentences with held-out voices and
decoded with the unchanged model. Missed terms are decoded again with all terms on a biasing list,
to measure whether a list helps.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from asr_llm import defaults
from asr_llm.corpus.domain.folder import Domain
from asr_llm.corpus.speech.synthesis import select_voices, speakable
from asr_llm.decoding.options import NUM_BEAMS
from asr_llm.errors import DomainError, SynthesisError, number_of
from asr_llm.evaluation.audit import AuditedTerm, Listed, judge
from asr_llm.progress import Feedback, Progress, labelled

if TYPE_CHECKING:
    from asr_llm.evaluation.entities import MentionOutcome
    from asr_llm.transcription.speech_llm import SpeechLLM

CARRIERS = ("She asked about {term} again today.", "The note said that {term} was discussed.")
"""Everyday sentences with ``{term}`` inside, where it is not capitalised."""
VOICES = ("en-us+belinda", "en-gb-x-rp+john")
"""Voices if the domain names none and hibari is not installed."""


@dataclass(frozen=True)
class Stimuli:
    """How terms are spoken.

    Args:
        voices: names or patterns; default: two voices of the domain's dev set.
        carriers: sentences with ``{term}`` in them; default: ``CARRIERS``.
    """

    voices: Sequence[str] = ()
    carriers: Sequence[str] = ()


@dataclass(frozen=True)
class Audit:
    """Results of all terms, worst first; ties keep the order of the lists."""

    domain: str
    model: str
    voices: tuple[str, ...]
    carriers: tuple[str, ...]
    terms: tuple[AuditedTerm, ...]

    @property
    def misheard(self) -> list[AuditedTerm]:
        """The terms at risk."""
        return [term for term in self.terms if term.misheard]


@dataclass(frozen=True)
class _Said:
    """One utterance: the term starts at character ``start`` of the sentence."""

    id: str
    term: Listed
    sentence: str
    start: int
    voice: str


def audit(
    folder: str | Path,
    *,
    model: str = defaults.MODEL,
    stimuli: Stimuli = Stimuli(),
    only: Iterable[str] | None = None,
    num_beams: int = NUM_BEAMS,
    feedback: Feedback = Feedback(),
) -> Audit:
    """Synthesise and decode every listed term; report which are misrecognised and what would help.

    Args:
        model: see ``SpeechLLM.load``.
        only: restrict to these terms.

    Raises:
        DomainError: the folder is malformed, lists no term, or a carrier has no ``{term}``.
        SynthesisError: there is no such voice, or it cannot speak a sentence.
        CheckpointError: the model does not load.
    """
    domain = Domain.load(folder)
    chosen = tuple(stimuli.carriers) or _default_carriers(domain)
    for carrier in chosen:
        if carrier.count("{term}") != 1:
            raise DomainError(
                f"the carrier sentence {carrier!r} has {carrier.count('{term}')} places "
                "for a term; expected {term} exactly once"
            )
    speaking = _speaking(domain, stimuli.voices)
    wanted = None if only is None else set(only)
    listed = _listed(domain)
    asked = [term for term in listed if wanted is None or term.text in wanted]
    terms = [term for term in asked if speakable(term.spoken or term.text, domain.config.language)]
    if mute := len(asked) - len(terms):
        feedback.tell(
            f"left out: {number_of(mute, 'term')} that no voice can say; give a spoken form in "
            "terms/<label>.tsv"
        )
    if not terms:
        raise DomainError(
            f"{domain.path}: no terms to audit; expected some in terms/<label>.tsv. Propose some "
            f"from its text with: asr-llm terms {domain.path}"
        )
    said = [
        _Said(f"{domain.name}-audit-{i:06d}", *spoken)
        for i, spoken in enumerate(_sentences(terms, chosen, speaking), start=1)
    ]
    feedback.tell(
        f"speaking {number_of(len(terms), 'term')}, each in "
        f"{number_of(len(chosen), 'sentence')} by {number_of(len(speaking), 'voice')}, and "
        f"decoding {number_of(len(said), 'recording')} with {model}: this can take some minutes"
    )
    times, with_list = _decode(domain, said, terms, model, num_beams, feedback.progress)
    sentences = domain.text() if domain.has_text() else []
    found = judge(terms, times, with_list, listed, sentences)
    return Audit(domain.name, model, speaking, chosen, tuple(found))


def _default_carriers(domain: Domain) -> tuple[str, ...]:
    if domain.config.language != "en":
        raise DomainError(
            f"{domain.path / 'domain.yaml'}: the language is {domain.config.language!r} "
            "and the built-in carrier sentences are English; expected your own: "
            "--carrier '… {term} …', twice"
        )
    return CARRIERS


def _speaking(domain: Domain, asked: Sequence[str]) -> tuple[str, ...]:
    """The requested voices, or two held-out ones."""
    if asked:
        found = select_voices(list(asked))
        if not found:
            raise SynthesisError("--voice: the '!' patterns exclude every voice")
        return found
    for split in ("dev", "test"):
        held_out = select_voices(domain.voices(split))
        if len(held_out) > 1:
            return held_out[:2]
    return VOICES


def _listed(domain: Domain) -> list[Listed]:
    """The unique terms of the term files, and the phrases of ``entities.jsonl``."""
    found: dict[str, Listed] = {}
    for terms in domain.terms().values():
        for term in terms:
            found.setdefault(term.text, Listed(term.text, term.label, term.spoken))
    for pattern in domain.patterns():
        if isinstance(phrase := pattern["pattern"], str):
            text = " ".join(phrase.split())
            found.setdefault(text, Listed(text, pattern["label"], None))
    return list(found.values())


def _sentences(
    terms: Iterable[Listed], carriers: Sequence[str], voices: Sequence[str]
) -> Iterable[tuple[Listed, str, int, str]]:
    for term, carrier, voice in product(terms, carriers, voices):
        yield term, carrier.replace("{term}", term.text), carrier.index("{term}"), voice


# Decoding ----------------------------------------------------------------------------------


def _decode(
    domain: Domain,
    said: Sequence[_Said],
    terms: Sequence[Listed],
    model: str,
    num_beams: int,
    progress: Progress | None,
) -> tuple[dict[str, list[MentionOutcome]], dict[str, list[MentionOutcome]]]:
    """Outcomes of each term, without and with a list of all terms."""
    from asr_llm.corpus.speech.spoken import speak_texts
    from asr_llm.corpus.terms.biasing_list import BiasingList
    from asr_llm.transcription.speech_llm import SpeechLLM

    cuts = speak_texts(
        [one.sentence for one in said],
        [domain.spoken(one.sentence) for one in said],
        [one.voice for one in said],
        prefix=f"{domain.name}-audit",
        language=domain.config.language,
        progress=labelled(progress, "speaking"),
    )
    by_cut = {cut.id: one for cut, one in zip(cuts, said, strict=True)}
    loaded: SpeechLLM = SpeechLLM.load(model, num_beams=num_beams)
    texts = loaded.transcribe_cuts(cuts, labelled(progress, "decoding"))
    outcomes = {i: _outcome(one, texts[i]) for i, one in by_cut.items()}
    missed = cuts.filter(lambda cut: not outcomes[cut.id].found).to_eager()
    with_list = dict(outcomes)
    if len(missed):
        loaded.prefer(BiasingList(tuple(term.text for term in terms)))
        texts = loaded.transcribe_cuts(missed, labelled(progress, "decoding with a list"))
        with_list |= {i: _outcome(by_cut[i], text) for i, text in texts.items()}
    return _by_term(by_cut, outcomes), _by_term(by_cut, with_list)


def _outcome(said: _Said, hypothesis: str) -> MentionOutcome:
    from asr_llm.evaluation.entities import Mention, outcomes
    from asr_llm.evaluation.normalized import TextPair

    text = said.term.text
    mention = Mention(said.start, said.start + len(text), said.term.label, text)
    (found,) = outcomes(TextPair(said.sentence, hypothesis), [mention], utterance=said.id)
    return found


def _by_term(
    said: dict[str, _Said], outcomes: dict[str, MentionOutcome]
) -> dict[str, list[MentionOutcome]]:
    found: dict[str, list[MentionOutcome]] = defaultdict(list)
    for i, one in said.items():
        found[one.term.text].append(outcomes[i])
    return found


def write_report(path: Path, found: Audit) -> None:
    """Write the HTML page atomically, creating its folder if needed."""
    from asr_llm.evaluation.audit_report import render
    from asr_llm.files import write_text

    about = {
        "model": found.model,
        "voices": ", ".join(found.voices),
        "sentences": " ".join(carrier.replace("{term}", "…") for carrier in found.carriers),
    }
    page = render(f"{found.domain}: vocabulary audit", about, [asdict(t) for t in found.terms])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, page)
