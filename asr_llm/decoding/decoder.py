"""The decoder: audio in, text out, by the options of each batch.

Legend: B audios, T samples at 16 kHz.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from asr_llm.corpus.speech.synthesis import Utterance
from asr_llm.corpus.terms.biasing_list import BiasingList, joined
from asr_llm.decoding import guards, two_passes
from asr_llm.decoding.confidence import calibration, decoded_words
from asr_llm.decoding.coverage import letters_heard, stops_early
from asr_llm.decoding.generate import n_best
from asr_llm.decoding.guards import cut_loop
from asr_llm.decoding.options import DecodeOptions
from asr_llm.decoding.phrases import Phrases
from asr_llm.decoding.processors import Preferences
from asr_llm.decoding.prompts import (
    collator,
    inference,
    max_tokens,
    prompt,
    splice,
    text_of,
)
from asr_llm.decoding.results import Decoded, DecodedWord, Hypothesis
from asr_llm.decoding.search import Search
from asr_llm.decoding.two_passes import FirstPassTexts
from asr_llm.errors import CheckpointError
from asr_llm.sequences.tasks import asr

if TYPE_CHECKING:
    from asr_llm.model.adapters import Adapters
    from asr_llm.model.first_pass import FirstPass
    from asr_llm.model.salm import SpanSALM

_LISTS = 8  # sets of biasing lists that are kept ready: those of a server's clients take turns


class Decoder:
    """A model with its adapters, ready to transcribe.

    Each batch brings its own options; before decoding it, the decoder puts in place the adapters
    that they name. It may be called from several threads: batches take turns.

    Args:
        model: in evaluation mode; from now on only the decoder may change it.
        adapters: those loaded onto the model.
        first_pass: what the model's checkpoint brings for a first pass.
    """

    def __init__(
        self,
        model: SpanSALM,
        adapters: Adapters | None = None,
        first_pass: FirstPass | None = None,
    ) -> None:
        self.model, self.adapters, self.first_pass = model, adapters, first_pass
        self._tries: dict[tuple[BiasingList, ...], tuple[Phrases, Phrases | None]] = {}
        self._turn = threading.RLock()

    def decode(
        self, audios: list[np.ndarray], options: DecodeOptions = DecodeOptions()
    ) -> list[Decoded]:
        """Transcribe B audios, each float32 (T,), in one batch; they may differ in length.

        A text does not depend on the rest of its batch. Loops are cut; ``repaired`` decodes again
        what went wrong.

        Raises:
            ValueError: the model is in training mode.
            CheckpointError: no adapter of that name was loaded; see also ``prompts.end_token``,
                ``confidence.calibration`` and ``rescoring.Weights``.
        """
        if not audios:
            return []
        model = self.model
        with self._turn, inference(model, options.bf16):
            preferences = self._preferences(options)
            phrases = preferences.phrases
            chat = model.chat if phrases is None else model.chat.naming(phrases.named)
            first = self._first_pass(audios, options, preferences)
            shown = zip(audios, first.shown)
            spliced = splice(model, [prompt(audio, chat, text) for audio, text in shown])
            most = [max_tokens(len(audio), model.chat.sample_rate) for audio in audios]
            limits = [options.max_new_tokens or limit for limit in most]
            search = Search(model, spliced, limits, options, preferences, first)
            if search.request:
                search.add(n_best(model, *search.request))
            written, heard = search.best(), letters_heard(model, spliced)
        decoded = [self._decoded(*both, options, phrases) for both in zip(written, heard)]
        if options.keep_encoded:
            rows = zip(spliced.encoded, spliced.encoded_lens.tolist())
            kept = [row[:count] for row, count in rows]
            decoded = [replace(one, encoded=row) for one, row in zip(decoded, kept)]
        return decoded

    def repaired(
        self, audios: list[np.ndarray], decoded: list[Decoded], options: DecodeOptions
    ) -> list[Decoded]:
        """What ``decode`` returned, with bad texts decoded again (``decoding.guards``)."""
        alone = options.without_preferences
        return guards.repaired(
            audios,
            decoded,
            lambda some: self.decode(some, options),
            self.support,
            (lambda some: self.decode(some, alone)) if self.prefers(options) else None,
        )

    def check(self, names: Sequence[str]) -> None:
        """Check that adapters of these names can be used.

        Raises:
            CheckpointError: one was not loaded, or is named twice.
        """
        if self.adapters is not None:
            self.adapters.check(names)
        elif names:
            raise CheckpointError(
                f"no adapter {names[0]!r} was loaded; expected its folder when loading: "
                "SpeechLLM.load(model, adapter=FOLDER)"
            )

    def prefers(self, options: DecodeOptions) -> bool:
        """Whether fusion or biasing changes any score."""
        with self._turn:
            return bool(self._preferences(options))

    def support(self, audio: np.ndarray, text: str) -> float:
        """Nats a token by which an audio (T,) makes a text likelier than as much silence does.

        What is said gains much from being heard; what an LLM says of its own accord gains nothing.
        """
        model, lost = self.model, []
        for samples in (np.zeros_like(audio), audio):
            batch = collator(model)([asr(Utterance(text, "", samples), model.chat)])
            with self._turn, inference(model):
                lost.append(float(model.losses(batch.to(model.device))["lm"]))
        return lost[0] - lost[1]

    def _first_pass(
        self, audios: list[np.ndarray], options: DecodeOptions, preferences: Preferences
    ) -> FirstPassTexts:
        """The first pass over B audios, with as many beams as the second."""
        if self.first_pass is None or not options.first_pass:
            return FirstPassTexts([None] * len(audios))
        return FirstPassTexts.of(
            self.first_pass, audios, options.num_beams, preferences.first_phrases
        )

    def _decoded(
        self, written: Hypothesis, heard: int, options: DecodeOptions, phrases: Phrases | None
    ) -> Decoded:
        tokenizer = self.model.tokenizer.tokenizer
        ids = list(written.ids)
        whole = text_of(tokenizer, ids)
        text = cut_loop(whole)
        looped = text != whole
        words: tuple[DecodedWord, ...] = ()
        if options.confidence:
            sure = list(written.log_probs)
            words = decoded_words(tokenizer, ids, sure, calibration(self.model))
            words = words[: len(text.split())]
        if phrases is not None:
            text = phrases.as_listed(text)
            words = tuple(replace(word, text=own) for word, own in zip(words, text.split()))
            text, words = phrases.homophones.respell(text, words)
        return Decoded(text, written.complete, looped, stops_early(text, heard), words)

    def _preferences(self, options: DecodeOptions) -> Preferences:
        """Put the adapters in place that the options name, and resolve fusion and biasing."""
        fusion: dict[str, float] = {}
        brought: list[BiasingList] = []
        self.check(options.adapters or ())
        if self.adapters is not None:
            names = self.adapters.names if options.adapters is None else options.adapters
            self.adapters.use(*names)
            fusion, brought = self.adapters.fusion(options.fusion), self.adapters.biasing
        fused = {key: weight for key, weight in fusion.items() if weight}
        return Preferences(fused, *self._phrases(joined(options.biasing, brought)))

    def _phrases(self, lists: tuple[BiasingList, ...]) -> tuple[Phrases | None, Phrases | None]:
        """The tries of these lists for LLM and first pass; the last few are cached."""
        if not lists:
            return None, None
        if lists not in self._tries:
            for oldest in list(self._tries)[: 1 - _LISTS]:
                del self._tries[oldest]
            self._tries[lists] = (
                Phrases.of(lists, self.model.tokenizer.tokenizer, self.model.text_vocab_size),
                None if self.first_pass is None else two_passes.phrases(lists, self.first_pass),
            )
        return self._tries[lists]
