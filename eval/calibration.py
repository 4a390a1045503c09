"""Calibration of word confidence: how often words of a given confidence are right.

    python eval/calibration.py                                # mini, test sets, held-out voices
    python eval/calibration.py --split dev --fit              # the two numbers for a config
    python eval/calibration.py --split dev --time             # what it costs
    python eval/calibration.py --model small readers.jsonl    # recordings of a manifest

Decodes the spoken sets of domains, or recordings; a word counts as right if all of it is a hit in
the alignment with the reference, ignoring case and punctuation. Prints Markdown: ways to make a
word's confidence from its tokens' probabilities, as they are and as the checkpoint's config maps
them (AUC: how often a right word has more than a wrong one; ECE: expected calibration error over
ten bins; NLL in nats), and for each set the share of right words by confidence. Chance is AUC 0.5.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from recognisers import some_of
from scipy.optimize import minimize

from asr_llm.cli import silence_libraries
from asr_llm.corpus.domain.folder import Domain
from asr_llm.corpus.recordings.audio import cut_audio
from asr_llm.corpus.recordings.importers import read_manifest
from asr_llm.corpus.speech.spoken import spoken_set
from asr_llm.corpus.text.normalizers import normalize
from asr_llm.decoding.confidence import Calibration, DecodedWord, calibration
from asr_llm.decoding.decoder import Decoder
from asr_llm.decoding.options import NUM_BEAMS, DecodeOptions
from asr_llm.evaluation.words import align
from asr_llm.transcription.speech_llm import SpeechLLM

WAYS = {
    "least": min,
    "mean": lambda log_probs: math.log(np.mean(np.exp(log_probs))),
    "product": sum,
}
LONGEST = 28.0  # seconds
Judged = list[tuple[DecodedWord, bool]]


def main() -> None:
    """Decode, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("domains", nargs="*", type=Path, help="domain folders, or manifests")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--split", default="test", choices=("dev", "test"))
    parser.add_argument("--beam-size", type=int, default=NUM_BEAMS)
    parser.add_argument("--limit", type=int, help="utterances of each, spread over it")
    parser.add_argument("--fit", action="store_true", help="find scale and offset on all domains")
    parser.add_argument("--time", action="store_true", help="processor time with and without")
    arguments = parser.parse_args()
    silence_libraries()

    decoder = SpeechLLM.load(arguments.model, adapter=arguments.adapter).pipeline.decoder
    domains = arguments.domains or [Path("domains/general"), Path("domains/medical")]
    spoken = {path.stem: recordings(path, arguments.split, arguments.limit) for path in domains}
    if arguments.time:
        cuts = [cut for own in spoken.values() for cut in own]
        print(f"{cost(decoder, cuts, arguments.beam_size):.1%} more processor time")
        return
    sets = {name: judged(decoder, cuts, arguments.beam_size) for name, cuts in spoken.items()}
    if arguments.fit:
        words = [pair for found in sets.values() for pair in found]
        fitted = fit([sum(word.log_probs) for word, _ in words], [right for _, right in words])
        print(f'"word_confidence": {{"scale": {fitted.scale:.2f}, "offset": {fitted.offset:.2f}}}')
        return
    print(
        "| domain | confidence | words | right | AUC | ECE | NLL |\n|---|---|---|---|---|---|---|"
    )
    ways = [(name, way, Calibration()) for name, way in WAYS.items()]
    if calibration(decoder.model) != Calibration():
        ways.append(("product, mapped", WAYS["product"], calibration(decoder.model)))
    for domain, found in sets.items():
        right = np.array([right for _, right in found])
        for name, way, calibrate in ways:
            sure = np.array([calibrate(way(word.log_probs)) for word, _ in found])
            print(
                f"| {domain} | {name} | {len(right)} | {right.mean():.1%} | "
                f"{auc(sure, right):.3f} | {ece(sure, right):.3f} | {nll(sure, right):.3f} |"
            )
    print("\n| domain | confidence | words | mean | right |\n|---|---|---|---|---|")
    for domain, found in sets.items():
        sure = np.array([word.confidence for word, _ in found])
        right = np.array([right for _, right in found])
        for low, inside in bins(sure):
            print(
                f"| {domain} | {low:.1f} to {low + 0.1:.1f} | {inside.sum()} | "
                f"{sure[inside].mean():.1%} | {right[inside].mean():.1%} |"
            )


def cost(decoder: Decoder, cuts: list[Any], num_beams: int, rounds: int = 5) -> float:
    """Relative CPU time that confidence adds to decoding.

    Both variants alternate, and the fastest of some rounds counts for each batch.
    """
    audios = sorted((cut_audio(cut) for cut in cuts), key=len)
    options = DecodeOptions(num_beams=num_beams)
    spent = {False: 0.0, True: 0.0}
    for first in range(0, len(audios), 20):
        batch = audios[first : first + 20]
        taken: dict[bool, list[float]] = {False: [], True: []}
        for number in range(rounds):
            for confidence in (number % 2 == 0, number % 2 == 1):
                before = time.process_time()
                decoder.decode(batch, replace(options, confidence=confidence))
                taken[confidence].append(time.process_time() - before)
        spent = {kind: spent[kind] + min(taken[kind]) for kind in spent}
    return spent[True] / spent[False] - 1


def recordings(path: Path, split: str, limit: int | None) -> list[Any]:
    """The cuts of a manifest, or of a split of a domain folder; some of them, spread over it.

    Longer ones than are decoded in one piece are left out.
    """
    found = spoken_set(Domain.load(path), split) if path.is_dir() else read_manifest(path)
    cuts = [cut for cut in found if cut.duration <= LONGEST]
    return some_of(cuts, limit)


def judged(decoder: Decoder, cuts: list[Any], num_beams: int) -> Judged:
    """Every word of the transcripts of cuts, and whether it is right; "-" is neither."""
    cuts = sorted(cuts, key=lambda cut: cut.duration)
    options = DecodeOptions(num_beams=num_beams, confidence=True)
    found: Judged = []
    for first in range(0, len(cuts), 20):
        some = cuts[first : first + 20]
        audios = [cut_audio(cut) for cut in some]
        for cut, done in zip(some, decoder.decode(audios, options)):
            found += judge(cut.supervisions[0].text, done.words)
    return found


def judge(reference: str, words: tuple[DecodedWord, ...]) -> Judged:
    """Whether each word is right; "follow-up" counts as two words, which must both be right."""
    parts = [normalize(word.text, "basic").split() for word in words]
    owners = [i for i, own in enumerate(parts) for _ in own]
    pairs = align(
        reference_words=normalize(reference, "basic").split(),
        hypothesis_words=[part for own in parts for part in own],
    )
    wrong = {
        owners[pair.hypothesis]
        for pair in pairs
        if pair.hypothesis is not None and pair.op != "hit"
    }
    return [(word, i not in wrong) for i, word in enumerate(words) if parts[i]]


def bins(sure: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """The lower end of each tenth that is not empty, and which words are in it."""
    tenth = np.minimum((sure * 10).astype(int), 9)
    return [(k / 10, tenth == k) for k in range(10) if (tenth == k).any()]


def ece(sure: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error: |mean confidence - share right|, weighted by words."""
    return sum(
        abs(sure[inside].mean() - right[inside].mean()) * inside.mean() for _, inside in bins(sure)
    )


def auc(sure: np.ndarray, right: np.ndarray) -> float:
    """How often a right word has more confidence than a wrong one; ties count half."""
    wrong = np.sort(sure[~right])
    below = np.searchsorted(wrong, sure[right], "left") + np.searchsorted(
        wrong, sure[right], "right"
    )
    return float(below.mean() / 2 / len(wrong))


def nll(sure: np.ndarray, right: np.ndarray) -> float:
    """Mean negative log-likelihood of the outcomes."""
    told = np.where(right, sure, 1 - sure)
    return float(-np.log(np.maximum(told, 1e-6)).mean())


def fit(log_probs: list[float], right: list[bool]) -> Calibration:
    """Maximum-likelihood scale and offset."""
    log_prob = np.minimum(np.array(log_probs), -1e-6)
    odds, was = log_prob - np.log(-np.expm1(log_prob)), np.array(right)

    def mean_nll(weights: Any) -> float:
        logits = weights[0] * odds + weights[1]
        return float(np.logaddexp(0, np.where(was, -logits, logits)).mean())

    scale, offset = minimize(mean_nll, (1.0, 0.0)).x
    return Calibration(float(scale), float(offset))


if __name__ == "__main__":
    main()
