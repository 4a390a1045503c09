"""Does the vocabulary audit predict which terms a model misses in other voices and sentences?

    python eval/audit_prediction.py domains/medical [--model mini] [--beam-size 4] [--sentences 240]
    python eval/audit_prediction.py DOMAIN --hypotheses RUN/hypotheses/base.domain.jsonl

The terms of a domain's test sentences are audited as ``asr-llm domain audit`` does it, in two
carrier sentences by two voices of the dev set. Then the test sentences are decoded in the voices of
the test set, unless a run of `adapt` or `evaluate` has done that. A mention there is predicted to
be missed if its term was right at most N times of four; "misheard" is the audit's own threshold.
Precision is the share of predictions that were missed, recall the share of missed mentions that
were predicted; "else missed" is the share missed among the others. AUC is the probability that, of
a missed and a found mention, the missed one's term was right less often in the audit (ties count
half).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from asr_llm.cli import silence_libraries
from asr_llm.corpus.domain.folder import Domain
from asr_llm.corpus.speech.spoken import spoken_set
from asr_llm.decoding.options import NUM_BEAMS
from asr_llm.evaluation.entities import EntityFinder, MentionOutcome, outcomes, term_of
from asr_llm.evaluation.normalized import TextPair
from asr_llm.jobs.audit import Audit, Stimuli, audit
from asr_llm.transcription.speech_llm import SpeechLLM


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("domain", type=Path)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--beam-size", type=int, default=NUM_BEAMS)
    parser.add_argument("--voices", nargs="+", default=[], help="of the audit, in place of its own")
    parser.add_argument("--sentences", type=int, help="Only the first; default: all.")
    parser.add_argument("--hypotheses", type=Path, help="of the test set, not to be decoded again")
    arguments = parser.parse_args()
    silence_libraries()

    mentions = _mentions(arguments)
    terms = {term_of(one.mention.text) for one in mentions}
    listed = [t.text for some in Domain.load(arguments.domain).terms().values() for t in some]
    audited = audit(
        arguments.domain,
        model=arguments.model,
        stimuli=Stimuli(voices=arguments.voices),
        num_beams=arguments.beam_size,
        only=[term for term in listed if term_of(term) in terms],
    )
    _report(audited, mentions)


def _mentions(arguments: argparse.Namespace) -> list[MentionOutcome]:
    """Outcomes of the mentions of the test set."""
    finder = EntityFinder(Domain.load(arguments.domain).patterns())
    found = []
    for utterance, said, written in _decoded(arguments):
        found += outcomes(TextPair(said, written), finder.find(said), utterance=utterance)
    return found


def _decoded(arguments: argparse.Namespace) -> list[tuple[str, str, str]]:
    """Of each test sentence its id, its words, and what the model wrote."""
    if arguments.hypotheses:
        rows = map(json.loads, arguments.hypotheses.read_text("utf-8").splitlines())
        return [(row["id"], row["reference"], row["text"]) for row in rows]
    cuts = spoken_set(Domain.load(arguments.domain), "test")
    if arguments.sentences:
        cuts = cuts.subset(first=arguments.sentences)
    model = SpeechLLM.load(arguments.model, num_beams=arguments.beam_size)
    written = model.transcribe_cuts(cuts)
    return [(cut.id, cut.supervisions[0].text, written[cut.id]) for cut in cuts]


def _report(audited: Audit, mentions: Sequence[MentionOutcome]) -> None:
    times = {term_of(term.text): term.right for term in audited.terms}
    flagged = {term_of(term.text) for term in audited.misheard}
    known = [
        (times[key], one.found) for one in mentions if (key := term_of(one.mention.text)) in times
    ]
    missed = sum(not found for _, found in known)
    print(
        f"{audited.domain}, {audited.model}: {len(known)} mentions of {len(times)} terms, of which "
        f"{missed / len(known):.1%} were missed; audited in {', '.join(audited.voices)}\n"
    )
    print("| foretold | terms | mentions | precision | recall | else missed |")
    print("|---|---|---|---|---|---|")
    most = max(term.said for term in audited.terms)
    for least in range(most):
        own = {key for key, right in times.items() if right <= least}
        name = f"right {least} of {most} at most" + (", the audit's line" if own == flagged else "")
        inside = [found for right, found in known if right <= least]
        outside = [found for right, found in known if right > least]
        hits = inside.count(False)
        print(
            f"| {name} | {len(own)} | {len(inside)} | {_share(hits, len(inside))} | "
            f"{_share(hits, missed)} | {_share(outside.count(False), len(outside))} |"
        )
    print(f"\nAUC {_auc(known):.2f}")


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}% ({part}/{whole})" if whole else "–"


def _auc(known: Sequence[tuple[int, bool]]) -> float:
    lost = [right for right, found in known if not found]
    won = [right for right, found in known if found]
    pairs = [(a < b) + (a == b) / 2 for a in lost for b in won]
    return sum(pairs) / len(pairs) if pairs else float("nan")


if __name__ == "__main__":
    main()
