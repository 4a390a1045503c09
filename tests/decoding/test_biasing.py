"""Biasing: what each step gains and gives back, worked out by hand."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from math import log
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr_llm.corpus.terms.biasing_list import BiasingList
from asr_llm.decoding import decoder as decoding
from asr_llm.decoding.biasing import Biasing
from asr_llm.decoding.decoder import Decoder
from asr_llm.decoding.fusion import Fusion
from asr_llm.decoding.generate import generate
from asr_llm.decoding.options import DecodeOptions
from asr_llm.decoding.phrases import ANYWHERE, CAPITALS, SENTENCE, Phrases, Tokens, _forms
from asr_llm.decoding.processors import Preferences, processors
from asr_llm.decoding.prompts import end_token, inference, prompt, splice
from asr_llm.decoding.results import Decoded, DecodedWord, Hypothesis
from asr_llm.model import checkpoints, lora
from asr_llm.model.adapters import put_aside
from asr_llm.model.salm import SpanSALM
from asr_llm.recipe import LoraRecipe
from asr_llm.sequences.spans import Text

AT, RI, AL, F, IB, OF, X, END, OPEN, AT0 = range(10)
WRITTEN = [" at", "ri", "al", " f", "ib", " of", "x", "</s>", "(", "at"]
ATRIAL, FIBRILLATION, FIB_OF = [AT, RI, AL], [AT, RI, AL, F, IB], [F, IB, OF]
S = 2.0
HALF, TWO_THIRDS, THIRD = S + log(1 / 2), S + log(2 / 3), S + log(1 / 3)


def vocabulary() -> Tokens:
    spaced = np.array([text[0] == " " for text in WRITTEN])
    marks = np.array([text in ("</s>", "(") for text in WRITTEN])
    return Tokens(spaced, spaced | marks, marks, marks & False, ~marks)


def trie(*sequences: Sequence[int], strength: float = S) -> Phrases:
    return Phrases([(ANYWHERE, ids) for ids in sequences], vocabulary(), strength)


def walk(phrases: Phrases, text: Sequence[int]) -> list[float]:
    """What each token of a text is given, one hypothesis alone."""
    biasing = Biasing(phrases)
    plain = torch.zeros(1, len(WRITTEN))
    return [
        float((biasing(torch.tensor([text[:n]], dtype=torch.long), plain) - plain)[0, token])
        for n, token in enumerate(text)
    ]


def given_back(*gains: float) -> float:
    return -sum(gains)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Complete, since a word begins or the text ends. Two of three phrases begin with " at",
        # and go on with "ri" and "al" for sure.
        ([AT, RI, AL, OF], [TWO_THIRDS, S, S, 0]),
        ([AT, RI, AL, END], [TWO_THIRDS, S, S, 0]),
        # Broken off: by another word, by the end, within the word, and because the word goes on.
        ([AT, RI, OF], [TWO_THIRDS, S, given_back(TWO_THIRDS, S)]),
        ([AT, RI, END], [TWO_THIRDS, S, given_back(TWO_THIRDS, S)]),
        ([AT, RI, X], [TWO_THIRDS, S, given_back(TWO_THIRDS, S)]),
        ([AT, RI, AL, X], [TWO_THIRDS, S, S, given_back(TWO_THIRDS, S, S)]),
        # It goes on as a longer phrase, as one of two do; broken off, the shorter stays complete.
        ([AT, RI, AL, F, IB, END], [TWO_THIRDS, S, S, HALF, S, 0]),
        ([AT, RI, AL, F, X], [TWO_THIRDS, S, S, HALF, given_back(HALF)]),
        ([AT, RI, AL, F, END], [TWO_THIRDS, S, S, HALF, given_back(HALF)]),
        ([AT, RI, AL, F, IB, X], [TWO_THIRDS, S, S, HALF, S, given_back(HALF, S)]),
        # Overlap: " f" and "ib" belong to two phrases and count once, by the more.
        ([AT, RI, AL, F, IB, OF, END], [TWO_THIRDS, S, S, HALF, S, S, 0]),
        ([AT, RI, AL, F, IB, OF, X], [TWO_THIRDS, S, S, HALF, S, S, given_back(S)]),
        ([F, IB, OF, END], [THIRD, S, S, 0]),
        ([F, IB, END], [THIRD, S, given_back(THIRD, S)]),
        ([F, IB, OF, X], [THIRD, S, S, given_back(THIRD, S, S)]),
        # Not where no word begins.
        ([X, RI, AL, END], [0, 0, 0, 0]),
        # Twice.
        ([AT, RI, AL, AT, RI, AL, END], [TWO_THIRDS, S, S, TWO_THIRDS, S, S, 0]),
    ],
)
def test_each_step(text: list[int], expected: list[float]) -> None:
    assert walk(trie(ATRIAL, FIBRILLATION, FIB_OF), text) == pytest.approx(expected, abs=1e-5)


def test_a_longer_phrase_that_breaks_off_leaves_the_shorter_one_its_own() -> None:
    phrases = trie([AT, RI, OF, F, X], [OF, F, IB])
    # " of" gained more as the third token of the one than it does as the first of the other.
    expected = [HALF, S, S, S, S + given_back(HALF, S, S - HALF), 0]
    assert walk(phrases, [AT, RI, OF, F, IB, END]) == pytest.approx(expected, abs=1e-5)
    phrases = trie([AT, RI, OF, F, X], [OF, F])
    expected = [HALF, S, S, S, given_back(HALF, S, S - HALF)]
    assert walk(phrases, [AT, RI, OF, F, END]) == pytest.approx(expected, abs=1e-5)
    assert walk(phrases, [AT, RI, OF, F, X, END]) == pytest.approx([HALF, S, S, S, S, 0], abs=1e-5)


def test_many_ways_to_go_on_gain_nothing() -> None:
    """Of eight phrases one goes on so: log 8 is more than 2."""
    phrases = trie(*[[AT, RI, token] for token in (0, 1, 2, 3, 4, 5, 6, 8)])
    assert walk(phrases, [AT, RI, AL, END]) == [S, S, 0, 0]


def test_where_a_word_may_begin_without_a_space() -> None:
    phrases = trie([AT0, RI, AL])
    assert walk(phrases, [AT0, RI, AL, END]) == [S, S, S, 0]  # the text's first word
    assert walk(phrases, [OF, AT0, RI]) == [0, 0, 0]
    assert walk(phrases, [OF, OPEN, AT0, RI]) == [0, 0, S, S]


def test_with_and_without_a_space_a_phrase_is_one() -> None:
    assert walk(trie([AT0, RI], [AT, RI]), [AT, RI, END]) == [S, S, 0]


def test_states_follow_the_beams() -> None:
    """Two texts of two beams; at the third step the beams change places, one is dropped."""
    biasing = Biasing(trie(ATRIAL))
    plain = torch.zeros(4, len(WRITTEN))
    for written in (
        [[], [], [], []],
        [[AT], [F], [OF], [AT]],
        [[F, X], [AT, RI], [AT, RI], [OF, AT]],
    ):
        biasing(torch.tensor(written, dtype=torch.long), plain)
    given = biasing(torch.tensor([[AT, RI, AL], [AT, RI, X], [OF, AT, RI], [OF, AT, X]]), plain)
    expected = [[-3 * S, -3 * S, 0], [0, 0, 0], [S, -2 * S, -2 * S], [0, 0, 0]]
    assert given[:, [AL, X, END]].tolist() == expected


def by_hand(phrases: list[list[int]], text: list[int]) -> float:
    """What the tokens of complete phrases gain, each by the phrase that gives it the most."""
    tokens = vocabulary()
    counted: dict[int, float] = {}
    for phrase in phrases:
        for start in range(len(text) - len(phrase)):
            end = start + len(phrase)
            begins = tokens.spaced[text[start]] or start == 0 or tokens.opens[text[start - 1]]
            if text[start:end] == phrase and begins and tokens.boundary[text[end]]:
                for place in range(start, end):
                    gain = of_list(phrases, phrase[: place - start + 1])
                    counted[place] = max(gain, counted.get(place, 0.0))
    return sum(counted.values())


def of_list(phrases: list[list[int]], beginning: list[int]) -> float:
    """strength + log p_list of the last token."""
    before = [p for p in phrases if p[: len(beginning) - 1] == beginning[:-1]]
    if len(beginning) == 1:
        spaced = vocabulary().spaced
        before = [p for p in phrases if spaced[p[0]] == spaced[beginning[0]]]
    so = [p for p in before if p[: len(beginning)] == beginning]
    return max(0.0, S + log(len(so) / len(before)))


ids = st.sampled_from([AT, RI, AL, F, IB, OF, X, OPEN, AT0])
few = st.sampled_from([AT, F, X])  # so that phrases overlap


@given(
    st.lists(st.lists(few | ids, min_size=1, max_size=4), min_size=1, max_size=8),
    st.lists(few | ids, max_size=14),
)
def test_a_text_gains_what_its_complete_phrases_are_worth(
    phrases: list[list[int]], text: list[int]
) -> None:
    text = [*text, END]
    expected = by_hand(phrases, text)
    assert sum(walk(trie(*phrases), text)) == pytest.approx(expected, abs=1e-4)


def test_each_phrase_has_its_own_strength() -> None:
    """Where two share a token the greater counts."""
    phrases = Phrases(
        [(ANYWHERE, ids) for ids in (ATRIAL, FIBRILLATION, FIB_OF)], vocabulary(), [1.0, 3.0, 0.5]
    )
    assert walk(phrases, [AT, RI, AL, OF]) == pytest.approx([3 + log(2 / 3), 3, 3, 0])
    assert walk(phrases, [F, IB, OF, END]) == pytest.approx([0, 0.5, 0.5, 0])
    assert walk(phrases, [AT, RI, AL, F, IB])[3:] == pytest.approx([3 + log(1 / 2), 3])


def test_lists_are_preferred_together_each_by_its_strength(model: SpanSALM) -> None:
    lists = [BiasingList(("court", "uvula"), 1.0), BiasingList(("court",), 4.0)]
    both = in_tokens_of(model, *lists)
    assert both.named == ("court", "uvula")

    def last(word: str) -> float:
        node = ANYWHERE
        for token in model.tokenizer.tokenizer(word, add_special_tokens=False)["input_ids"]:
            node = both.child(node, token)  # type: ignore[assignment]
        return float(both.gain[node])

    assert (last(" court"), last(" uvula")) == (4.0, 1.0)
    assert in_tokens_of(model, BiasingList(("court",), 0.0)).named == ()


@given(st.lists(st.lists(ids, min_size=1, max_size=5), max_size=8), st.lists(ids, max_size=6))
def test_the_trie_holds_its_phrases_and_no_other(
    sequences: list[list[int]], other: list[int]
) -> None:
    phrases = trie(*sequences)

    def holds(text: list[int]) -> bool:
        node: int | None = ANYWHERE
        for token in text:
            node = phrases.child(node, token) if node is not None else None
        return node is not None and bool(phrases.final[node])

    assert all(holds(one) for one in sequences)
    assert holds(other) == (other in sequences)
    for node in range(len(phrases.final)):
        tokens = phrases.children(node)[0].tolist()
        assert tokens == sorted({t for t in range(len(WRITTEN)) if phrases.child(node, t)})


def test_cases_and_where_they_may_begin() -> None:
    assert sorted(_forms("sotalol")) == [
        (ANYWHERE, "sotalol"),
        (SENTENCE, "Sotalol"),
        (CAPITALS, "SOTALOL"),
    ]
    assert sorted(_forms("Hatch Act")) == [
        (ANYWHERE, "Hatch Act"),
        (ANYWHERE, "hatch act"),
        (CAPITALS, "HATCH ACT"),
    ]
    assert sorted(_forms("MRI")) == [(ANYWHERE, "MRI"), (ANYWHERE, "mri")]


# With a model -----------------------------------------------------------------------------

AUDIOS = [
    np.random.default_rng(i).normal(0, 0.1, n).astype("float32")
    for i, n in enumerate((16000, 9000, 24000))
]


@pytest.fixture(scope="module")
def model(tiny: Path, enliven: Callable[[SpanSALM, float], SpanSALM]) -> SpanSALM:
    """Writes many tokens, and different ones for different audios."""
    return enliven(checkpoints.load(tiny).eval(), 1.0)


def phrases_of(model: SpanSALM, *words: str, strength: float = 2.0) -> Phrases:
    return in_tokens_of(model, BiasingList(words, strength))


def in_tokens_of(model: SpanSALM, *lists: BiasingList) -> Phrases:
    return Phrases.of(lists, model.tokenizer.tokenizer, model.text_vocab_size)


def test_tokens_of_a_tokenizer(model: SpanSALM) -> None:
    tokenizer = model.tokenizer.tokenizer
    tokens = Tokens.of(tokenizer, len(tokenizer) + 3)
    assert len(tokens.spaced) == len(tokenizer) + 3
    the, full_stop, a, quote = tokenizer.convert_tokens_to_ids(["Ġthe", ".", "a", "'"])
    part = tokenizer.convert_tokens_to_ids("Ã")  # the first of the two bytes of "é"
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    which = [the, full_stop, a, quote, part, end]
    assert tokens.spaced[which].tolist() == [True, False, False, False, False, False]
    assert tokens.boundary[which].tolist() == [True, True, False, True, False, True]
    assert tokens.opens[which].tolist() == [False, True, False, False, False, True]
    assert tokens.stops[which].tolist() == [False, True, False, False, False, True]
    assert tokens.lower[which].tolist() == [True, False, True, False, False, False]


def test_phrases_are_found_in_each_case_where_it_belongs(model: SpanSALM) -> None:
    tokenizer = model.tokenizer.tokenizer
    phrases = phrases_of(model, "court")

    def gain(text: str) -> float:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        biasing = Biasing(phrases)
        plain = torch.zeros(1, phrases.vocabulary)
        total = 0.0
        for n, token in enumerate([*ids, tokenizer.convert_tokens_to_ids("<|im_end|>")]):
            total += float((biasing(torch.tensor([ids[:n]]).long(), plain) - plain)[0, token])
        return total

    def worth(text: str) -> float:
        return 2.0 * len(tokenizer(text, add_special_tokens=False)["input_ids"])

    assert gain("court") == gain("court.") == worth("court")
    assert gain("The court heard") == gain("The court's") == worth(" court")
    assert gain("Court") == worth("Court")
    assert gain("He. Court") == worth(" Court")
    assert gain("He Court") == 0
    assert gain("COURT") == worth("COURT")
    assert gain("THE COURT") == worth(" COURT")
    assert gain("The COURT") == 0
    assert gain("courts") == gain("The courtyard") == gain("escourt") == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("He cited roe versus wade.", "He cited Roe versus Wade."),
        ("roe Versus wade, roe", "Roe versus Wade, roe"),
        ("the Sixth amendment's text", "the Sixth Amendment's text"),
        ("the sixth amendments", "the sixth amendments"),  # another word
        ("Ad hoc Board met the ad hoc board", "Ad hoc Board met the ad hoc Board"),
        ("ROE VERSUS WADE", "ROE VERSUS WADE"),
        ("the sixth amendment act", "the Sixth Amendment Act"),  # the longest
        ("may he? Quid pro quo", "may he? Quid pro quo"),  # single words and small letters stay
        ("", ""),
    ],
)
def test_phrases_of_several_words_are_written_as_listed(
    model: SpanSALM, text: str, expected: str
) -> None:
    listed = "Roe versus Wade", "Sixth Amendment", "Sixth Amendment Act", "ad hoc Board", "May"
    assert phrases_of(model, *listed, "quid pro quo").as_listed(text) == expected
    assert phrases_of(model, *listed, strength=0.0).as_listed(text) == text


@given(st.text("abAB .", max_size=30), st.lists(st.text("abAB ", min_size=1, max_size=8)))
def test_writing_as_listed_changes_nothing_but_the_case(text: str, phrases: list[str]) -> None:
    kinds = np.zeros(1, dtype=bool)
    listed = Phrases([], Tokens(kinds, kinds, kinds, kinds, kinds), 2.0, tuple(phrases))
    written = listed.as_listed(text)
    assert written.lower() == text.lower()
    assert listed.as_listed(written) == written


def says(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Let the decoder write this text, whatever the tokens are."""
    words = tuple(DecodedWord(word, 0.5, (-0.7,)) for word in text.split())
    monkeypatch.setattr(decoding, "text_of", lambda *_: text)
    monkeypatch.setattr(decoding, "decoded_words", lambda *_: words)


def test_text_and_words_are_both_written_as_listed(
    model: SpanSALM, monkeypatch: pytest.MonkeyPatch
) -> None:
    says(monkeypatch, "he cited roe versus wade.")
    options = DecodeOptions(confidence=True, biasing=BiasingList(("Roe versus Wade",)))
    (found,) = Decoder(model).decode(AUDIOS[:1], options)
    assert found.text == "he cited Roe versus Wade."
    assert [word.text for word in found.words] == found.text.split()
    assert not found.loop_cut


def test_text_and_words_have_misspelt_phrases_as_listed(
    model: SpanSALM, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "she met Herst would again."
    says(monkeypatch, said)
    for strength, expected in ((2.0, "she met Hurstwood again."), (0.0, said)):
        biasing = BiasingList(("Hurstwood",), strength)
        options = DecodeOptions(confidence=True, biasing=biasing)
        (found,) = Decoder(model).decode(AUDIOS[:1], options)
        assert found.text == expected
        assert [word.text for word in found.words] == found.text.split()


def heard(
    model: SpanSALM,
    phrases: Phrases | None,
    beams: int,
    audios: list[np.ndarray] = AUDIOS,
    biasing: type[Biasing] = Biasing,
    fusion: float = 0.0,
) -> list[list[int]]:
    found = [Fusion(model, {"default": fusion}, end_token(model))] if fusion else []
    found += [biasing(phrases)] if phrases is not None else []
    with inference(model):
        spliced = splice(model, [prompt(audio, model.chat) for audio in audios])
        written = generate(model, spliced, [12] * len(audios), beams, found)
    return [list(one.ids) for one in written]


@pytest.mark.parametrize("beams", [1, 4])
def test_a_text_does_not_depend_on_its_company(model: SpanSALM, beams: int) -> None:
    phrases = phrases_of(model, *"abcdefghijklmnop", "the court", "appeal", strength=40.0)
    together = heard(model, phrases, beams)
    assert together == [heard(model, phrases, beams, [audio])[0] for audio in AUDIOS]
    assert together != heard(model, None, beams)


@pytest.mark.parametrize("beams", [1, 4])
def test_without_phrases_or_strength_nothing_changes(model: SpanSALM, beams: int) -> None:
    plain = heard(model, None, beams)
    assert heard(model, phrases_of(model), beams) == plain
    assert heard(model, phrases_of(model, "the court", strength=0.0), beams) == plain
    assert processors(model, DecodeOptions()) == []
    idle_list = Preferences(phrases=phrases_of(model, "a", strength=0.0))
    assert processors(model, DecodeOptions(), idle_list) == []
    # Not only because it is left out: with no strength, the processor adds nothing.
    idle = Biasing(phrases_of(model, "the court", strength=0.0))
    scores = torch.randn(beams, model.text_vocab_size)
    assert idle(torch.zeros(beams, 0, dtype=torch.long), scores).equal(scores)


def test_beams_have_the_state_of_what_they_have_written(model: SpanSALM) -> None:
    """The search gets the scores it would get if every state were made anew at each step."""
    phrases = phrases_of(model, *"abcdefghijklmnop", "the court", "ab", "ba", strength=40.0)
    moved = []

    class Checked(Biasing):
        def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            found = super().__call__(input_ids, scores)
            assert found.equal(Biasing(self.phrases)(input_ids, scores))
            moved.extend(bool(state.partials) for state in self.states.values())
            return found

    heard(model, phrases, beams=4, biasing=Checked)
    assert any(moved) and not all(moved)


def test_with_an_adapter_of_text_beside_it(tiny: Path) -> None:
    fused = checkpoints.load(tiny)
    torch.manual_seed(1)
    lora.install(fused, LoraRecipe(r=2, lora_alpha=8))
    for name, parameter in fused.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 1.0)
    put_aside(fused.eval())
    phrases = phrases_of(fused, *"abcdefghijklmnop", "the court", strength=1.0)
    both = heard(fused, phrases, 4, fusion=50.0)
    assert both == [heard(fused, phrases, 4, [audio], fusion=50.0)[0] for audio in AUDIOS]
    assert both != heard(fused, None, 4, fusion=50.0)
    assert both != heard(fused, phrases, 4)


def test_a_strong_list_is_written(model: SpanSALM) -> None:
    tokenizer = model.tokenizer.tokenizer
    written = heard(model, phrases_of(model, "q", strength=1e6), 1, AUDIOS[:1])[0]
    assert set(tokenizer.decode(written).lower().replace(" ", "")) == {"q"}


def test_decode_hands_the_phrases_on(model: SpanSALM, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def spy(
        model: SpanSALM, options: DecodeOptions, preferences: Preferences, *_: object
    ) -> object:
        assert preferences.phrases is not None
        seen.append(preferences.phrases.named)
        return processors(model, options, preferences)

    monkeypatch.setattr("asr_llm.decoding.search.processors", spy)
    options = DecodeOptions(num_beams=2, biasing=BiasingList(("court",)))
    (one,) = Decoder(model).decode(AUDIOS[:1], options)
    assert isinstance(one, Decoded)
    assert seen == [("court",)]


def test_special_tokens_are_no_words(model: SpanSALM) -> None:
    phrases = phrases_of(model, "court", "<|audio|>", "the <|IM_END|>")
    assert phrases.named == ("court",)
    assert not set(phrases.edges % phrases.vocabulary) & set(
        model.tokenizer.tokenizer.all_special_ids
    )


def test_a_checkpoint_with_a_biasing_prompt_gets_the_words(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(tiny, tmp_path / "told")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config["biasing_prompt"] = "Transcribe, and mind {words}: {audio}"
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    told = checkpoints.load(folder).eval()
    seen = []
    real = decoding.splice

    def spy(model: SpanSALM, prompts: list[tuple[Text, ...]]) -> object:
        seen.append(prompts[0][0].text)
        return real(model, prompts)

    monkeypatch.setattr(decoding, "splice", spy)
    monkeypatch.setattr("asr_llm.decoding.decoder.n_best", lambda *_, **__: [[Hypothesis(())]])
    for biasing in (
        BiasingList(("court", "{audio} appeal")),
        BiasingList(tuple(f"w{i}" for i in range(101))),
        BiasingList(("court",), 0.0),
        None,
    ):
        Decoder(told).decode(AUDIOS[:1], DecodeOptions(num_beams=2, biasing=biasing))
    asked = told.chat.before + "Transcribe, and mind "
    assert seen[0] == asked + "court,  appeal: "
    assert seen[1] == asked + ", ".join(f"w{i}" for i in range(100)) + ": "
    assert seen[2] == seen[3] == told.chat.before + "Transcribe the following: "
