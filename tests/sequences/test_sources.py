"""From what a recipe names to examples."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import CutSet
from pydantic import TypeAdapter

from asr_llm.corpus.recordings.importers import read_manifest
from asr_llm.corpus.speech.synthesis import Utterance
from asr_llm.errors import AsrLlmError, DomainError, RecipeError
from asr_llm.jobs.align import WordTimes, align_manifest
from asr_llm.jobs.shar import pack
from asr_llm.sequences.batching import BatchStream, Collator
from asr_llm.sequences.examples import Examples
from asr_llm.sequences.sources import Folders, Source
from asr_llm.sequences.spans import SpanSequence, Speech, Text
from asr_llm.sequences.tasks import Chat

CHAT = Chat("<u>", "</u><a>", "</a>")
_SOURCE: TypeAdapter[Source] = TypeAdapter(Source)


def entry(task: str, data: Path | str, **more: object) -> Source:
    return _SOURCE.validate_python({"task": task, "data": str(data)} | more)


def make(task: str, data: Path | str, **more: object) -> Examples:
    made = entry(task, data, **more).examples(CHAT, Folders())
    assert made is not None
    return made


def sequence(source: Examples, i: int, seed: int = 1) -> SpanSequence:
    made = source.item(i).make(np.random.default_rng(seed))
    assert made is not None
    return made


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    path = tmp_path / "lines.txt"
    path.write_text("One sentence.\n\n  Another one.  \n", "utf-8")
    return path


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Two recordings of 0.5 s, and one of 25 s, longer than what is used."""
    for name, seconds in (("a", 0.5), ("b", 0.5), ("long", 25)):
        soundfile.write(tmp_path / f"{name}.wav", np.full(int(16000 * seconds), 0.1), 16000)
    path = tmp_path / "trans.txt"
    path.write_text("a.wav\tAlpha one.\nb.wav\tBeta two.\nlong.wav\tToo long.\n", "utf-8")
    return path


def test_text(lines: Path) -> None:
    source = make("text", lines, weight=0.3)
    assert (source.count, source.weight) == (2, 0.3)
    assert sequence(source, 1) == (Text("Another one.</a>", True),)


def test_text_behind_the_prompt(lines: Path) -> None:
    source = make("text", lines, prompt=True)
    assert sequence(source, 1) == (
        Text("<u>Transcribe the following: </u><a>"),
        Text("Another one.</a>", True),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A domain with nothing but its name."""
    (tmp_path / "domain").mkdir()
    (tmp_path / "domain" / "domain.yaml").write_text("name: mine\n", "utf-8")
    return tmp_path / "domain"


def test_an_optional_source_may_have_no_data(folder: Path, recordings: Path) -> None:
    for task, more in (("text", {}), ("asr", {}), ("asr", {"speech": "recorded"})):
        source = entry(task, folder, optional=True, **more)
        assert source.examples(CHAT, Folders()) is None
        with pytest.raises(DomainError, match=r"no domain text|no recordings for the 'asr' source"):
            source.model_copy(update={"optional": False}).examples(CHAT, Folders())


def test_recordings_come_before_spoken_text_unless_said_otherwise(
    folder: Path, recordings: Path
) -> None:
    recordings.parent.rename(folder.parent.with_name("moved"))
    moved = folder.parent.with_name("moved")
    folder = moved / "domain"
    (folder / "text.txt").write_text("First.\nSecond.\nThird.\nFourth.\n", "utf-8")
    (folder / "train").mkdir()
    for path in (*moved.glob("*.wav"), moved / "trans.txt"):
        path.rename(folder / "train" / path.name)
    counts = {kind: make("asr", folder, speech=kind).count for kind in ("any", "recorded")}
    assert counts == {"any": 2, "recorded": 2}
    assert make("asr", folder, speech="synthetic").count == 7  # their transcripts too
    assert make("asr", folder, speech="recorded", optional=True).count == 2


def test_denoise_costs_about_twice_the_text(lines: Path) -> None:
    source = make("denoise", lines)
    assert sequence(source, 0)[-1] == Text("One sentence.</a>", True)
    assert source.item(0).cost == pytest.approx(2 * 13 / 3 + 16)


def test_text_is_spoken_for_asr_and_the_same_for_the_same_seed(lines: Path) -> None:
    source = make("asr", lines, voices=["en-us+*"])
    _, heard, _, text = sequence(source, 0)
    assert isinstance(heard, Speech)
    assert text == Text("One sentence.</a>", True)
    assert heard.num_frames == -(-len(heard.utterance.samples) // 1280)

    def again(seed: int) -> Utterance:
        span = sequence(make("asr", lines, voices=["en-us+*"]), 0, seed)[1]
        assert isinstance(span, Speech)
        return span.utterance

    sequence(source, 1, seed=8)  # what was said in between leaves no trace
    assert (again(1).samples == heard.utterance.samples).all()
    assert again(1).speaker == heard.utterance.speaker
    assert len({again(seed).speaker for seed in range(6)}) > 1


def test_recordings_are_read_and_those_too_long_are_named(recordings: Path) -> None:
    source = make("asr", recordings, augment=0.0)
    assert (source.count, source.left_out) == (2, {"long"})
    _, heard, _, text = sequence(source, 1)
    assert isinstance(heard, Speech)
    assert text == Text("Beta two.</a>", True)
    assert heard.num_frames == 7  # 8000 / 1280 = 6.25
    assert heard.utterance.samples == pytest.approx(0.1, abs=1e-4)


def test_a_long_recording_is_learned_from_in_pieces(recordings: Path) -> None:
    (recordings.parent / "t.ctm").write_text("long 1 1 11 Too\nlong 1 13 11.5 long.\n", "utf-8")
    aligned = align_manifest(recordings, times=WordTimes(timings=recordings.parent / "t.ctm")).path
    source = make("asr", aligned, augment=0.0)
    assert (source.count, source.left_out) == (2, frozenset())
    for i, (text, seconds) in enumerate((("Too", 11.5), ("long.", 12.0))):
        _, heard, _, written = sequence(source, i)
        assert isinstance(heard, Speech)
        assert written == Text(f"{text}</a>", True)
        assert heard.utterance.duration == pytest.approx(seconds, abs=1e-3)


HEARS = Chat("<u>", "</u><a>", "</a>", first_pass_prompt="\nHeard: {first_pass}")


def first_passes(data: Path, chat: Chat = HEARS, **more: object) -> list[str]:
    """What stands behind the speech of the first recording, from 40 seeds."""
    source = entry("asr", data, **more).examples(chat, Folders())
    assert source is not None
    made = [sequence(source, 0, seed) for seed in range(40)]
    tails = [tail.text for _, _, tail, _ in made if isinstance(tail, Text) and not tail.loss]
    assert len(tails) == len(made)
    return [tail.removesuffix("</u><a>") for tail in tails]


@pytest.fixture
def heard(recordings: Path) -> Path:
    """Two recordings, to the first of which a recogniser has listened."""
    said = "the patient takes one tablet of metoprolol before dinner every other day"
    path = recordings.with_name("manifest.json")
    first = {"audio_filepath": "a.wav", "text": "Alpha.", "first_pass": said}
    path.write_text(
        f"{json.dumps(first)}\n" + json.dumps({"audio_filepath": "b.wav", "text": "Beta."}), "utf-8"
    )
    return path


def test_a_first_pass_is_shown_behind_the_speech(heard: Path) -> None:
    said = "the patient takes one tablet of metoprolol before dinner every other day"
    source = entry("asr", heard, first_pass=1.0, misheard=0.0).examples(HEARS, Folders())
    assert source is not None
    head, speech, tail, text = sequence(source, 0)
    assert isinstance(speech, Speech)
    assert (head, tail, text) == (
        Text("<u>Transcribe the following: "),
        Text(f"\nHeard: {said}</u><a>"),
        Text("Alpha.</a>", True),
    )
    assert sequence(source, 1)[2] == Text("</u><a>")  # the other has none


def test_a_share_of_the_first_passes_is_shown(heard: Path) -> None:
    shown = "\nHeard: the patient takes one tablet of metoprolol before dinner every other day"
    assert first_passes(heard, first_pass=0.0) == [""] * 40
    assert first_passes(heard, first_pass=1.0, misheard=0.0) == [shown] * 40
    assert set(first_passes(heard, misheard=0.0)) == {"", shown}
    assert first_passes(heard, CHAT, first_pass=1.0) == [""] * 40  # the checkpoint reads none


def test_a_share_of_the_first_passes_is_misspelt_by_ear(heard: Path) -> None:
    (shown,) = set(first_passes(heard, first_pass=1.0, misheard=0.0))
    words = len(shown.split())
    misspelt = set(first_passes(heard, first_pass=1.0, misheard=1.0))
    assert len(misspelt) > 30
    assert all(words <= len(text.split()) <= 2 * words for text in misspelt)
    mixed = first_passes(heard, first_pass=1.0, misheard=0.5)
    assert 8 < mixed.count(shown) < 32


def test_pieces_of_a_long_recording_have_no_first_pass(recordings: Path) -> None:
    manifest = recordings.with_name("manifest.json")
    long = {"audio_filepath": "long.wav", "text": "Too long.", "first_pass": "two log"}
    manifest.write_text(json.dumps(long), "utf-8")
    (recordings.parent / "t.ctm").write_text("long 1 1 11 Too\nlong 1 13 11.5 long.\n", "utf-8")
    aligned = align_manifest(manifest, times=WordTimes(timings=recordings.parent / "t.ctm")).path
    (cut,) = read_manifest(aligned)
    assert cut.supervisions[0].custom == {"first_pass": "two log"}  # aligning keeps it
    assert first_passes(aligned, first_pass=1.0) == [""] * 40


@pytest.mark.parametrize("key", ["first_pass", "misheard"])
def test_shares_are_from_0_to_1_and_of_asr_alone(heard: Path, key: str) -> None:
    with pytest.raises(ValueError, match="less than or equal to 1"):
        entry("asr", heard, **{key: 1.5})
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        entry("interleave", heard, **{key: 0.5})


def test_nothing_but_long_recordings_is_an_error(recordings: Path) -> None:
    recordings.write_text("long.wav\tToo long.\n", "utf-8")
    with pytest.raises(
        DomainError,
        match=r"left out 1 recording \(the first: long\): .* longer than 24 s.*asr-llm align",
    ):
        make("asr", recordings)


def test_a_long_line_is_learned_in_pieces(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("Nine days on. " * 40 + "\nShort.\n", "utf-8")
    for task in ("text", "asr"):
        source = make(task, tmp_path / "notes.txt")
        texts = [sequence(source, i)[-1] for i in range(source.count)]
        assert [len(t.text) for t in texts if isinstance(t, Text)] == [171, 171, 171, 59, 10]


@pytest.mark.parametrize("task", ["word_synchronous", "interleave"])
def test_recordings_without_word_times_are_not_interleaved(recordings: Path, task: str) -> None:
    with pytest.raises(DomainError, match=r"left out 3 recordings \(the first: a\).*to interleave"):
        make(task, recordings)
    (recordings.parent / "t.ctm").write_text("b 1 0.1 0.1 Beta\nb 1 0.2 0.2 two.\n", "utf-8")
    aligned = align_manifest(recordings, times=WordTimes(timings=recordings.parent / "t.ctm")).path
    whole = recordings.parent / "some.jsonl"
    CutSet.from_cuts([*read_manifest(aligned), *list(read_manifest(recordings))[::2]]).to_file(
        whole
    )
    source = make(task, whole)
    assert (source.count, source.left_out) == (1, {"a", "long"})


def test_examples_that_cannot_be_used_at_all(lines: Path) -> None:
    """Each line is one segment, and there is nothing for it to alternate with."""
    segments = make("interleave", lines, interleave={"units": "segment"})

    class Words:
        def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
            return {"input_ids": [5]}

        def convert_tokens_to_ids(self, token: str) -> int:
            return 1

    stream = BatchStream([segments], Collator(Words(), "<audio>", 0, 1280), 1, 100, 10)
    with pytest.raises(DomainError, match=r"none of .* to be interleaved, have two units or more"):
        stream[0]


def test_speech_is_played_faster_and_slower(recordings: Path) -> None:
    """Half a second is then 0.42 to 0.63 s; the recording of 25 s is still too long."""
    source = make("asr", recordings, augment=0.0, speed=0.2)
    lengths = set()
    for seed in range(8):
        speech = next(span for span in sequence(source, 0, seed) if isinstance(span, Speech))
        lengths.add(len(speech.utterance.samples))
    assert len(lengths) == 8
    assert 8000 / 1.2 <= min(lengths) < 8000 < max(lengths) <= 8000 / 0.8
    plain = next(
        s for s in sequence(make("asr", recordings, augment=0.0), 0) if isinstance(s, Speech)
    )
    assert len(plain.utterance.samples) == 8000


def test_questions(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"passage": "Ann sat.", "question": "Who?", "answer": "Ann."}\n', "utf-8")
    source = make("question", path)
    assert sequence(source, 0) == (Text("<u>Ann sat. Who?</u><a>"), Text("Ann.</a>", True))


@pytest.mark.parametrize(
    ("task", "content", "message"),
    [
        ("question", '{"passage": "a", "question": "b"}\n', r"data:1: expected a JSON object"),
        ("question", "[1]\n", r"data:1: expected a JSON object"),
        ("question", "\n", "no questions"),
        ("text", "\n\n", "no text for the 'text' source"),
        ("asr", "\n\n", "no text for the 'asr' source"),
        ("insert", "\n\n", "no text for the 'insert' source"),
    ],
)
def test_data_unfit_for_its_task(tmp_path: Path, task: str, content: str, message: str) -> None:
    path = tmp_path / "data"
    path.write_text(content, "utf-8")
    with pytest.raises(DomainError, match=message):
        make(task, path)


def test_not_text(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"fine\ncaf\xe9\n")
    with pytest.raises(DomainError, match="latin:2: not UTF-8 text"):
        make("text", tmp_path / "latin")
    with pytest.raises(DomainError, match="Is a directory"):
        make("text", tmp_path)


def test_comments_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("# What is said here\nYes.\n", "utf-8")
    assert make("text", tmp_path / "t.txt").count == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("domain", "a domain folder on the command line"),
        ("replay", "without general speech, training on text makes the model ignore the audio"),
        ("nowhere.txt", "nothing is there"),
    ],
)
def test_data_that_is_not_there(data: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        make("text", data)


def test_a_voice_that_is_not_there(lines: Path) -> None:
    with pytest.raises(AsrLlmError, match="nobody"):
        make("asr", lines, voices=["nobody"])


def test_interleaved_speech_is_synthesised_with_its_word_times(lines: Path) -> None:
    source = make("interleave", lines, augment=0.0, interleave={"units": "word"})
    for seed in range(4):
        made = sequence(source, 1, seed)
        said = [span.text or "" for span in made[:-1]]
        assert "".join(said).replace("  ", " ").split() == ["Another", "one."]
        assert isinstance(made[0], Speech) or made[:2] == (
            Text("Another", True),
            Text(" one.", True),
        )


def test_segments_are_told_from_words_by_the_leading_token(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("Yes, he came. She did not, no.\n", "utf-8")
    mixed = make("interleave", tmp_path / "t.txt", interleave={"words": 0.5})
    leading = [Text("\x1e") in sequence(mixed, 0, seed) for seed in range(8)]
    assert set(leading) == {True, False}
    segments = make("interleave", tmp_path / "t.txt", interleave={"units": "segment"})
    assert all(Text("\x1e") in sequence(segments, 0, seed) for seed in range(4))


def test_a_single_segment_is_taken_word_by_word_where_levels_are_mixed(lines: Path) -> None:
    mixed = make("interleave", lines, interleave={"words": 0.0})
    assert len(sequence(mixed, 1)) == 3
    alone = make("interleave", lines, interleave={"units": "segment"})
    assert alone.item(1).make(np.random.default_rng(1)) is None


def test_inserted_speech_takes_the_place_of_text(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text(" ".join(["Nine days on."] * 8) + "\n", "utf-8")
    source = make("insert", tmp_path / "t.txt", insert={"level": "sentence", "share": 0.6})
    made = sequence(source, 0)
    heard = [span for span in made if isinstance(span, Speech)]
    assert {span.text for span in heard} == {"Nine days on."}
    assert len({span.utterance.speaker for span in heard}) == 1
    written = "".join(span.text for span in made if isinstance(span, Text) and span.loss)
    assert written.count("Nine days on.") + len(heard) == 8


@pytest.fixture
def books(tmp_path: Path) -> Path:
    """A folder of two files: 40 sentences of three words each."""
    (tmp_path / "books" / "more").mkdir(parents=True)
    for name in ("a.txt", "more/b.txt"):
        (tmp_path / "books" / name).write_text("Nine days on.\n" * 20, "utf-8")
    return tmp_path / "books"


def parts(made: SpanSequence) -> tuple[int, int]:
    """Words spoken and written."""
    heard = [span.text or "" for span in made if isinstance(span, Speech)]
    written = [span.text for span in made if isinstance(span, Text) and span.loss]
    return len(" ".join(heard).split()), len(" ".join(written).split())


def test_a_folder_of_text_is_inserted_passage_by_passage(books: Path) -> None:
    source = make("insert", books, voices=["en-us"], passage=140)
    # A sentence has 13 bytes and a line end: ten fit into 140 bytes.
    assert source.count == 4
    assert {sum(parts(sequence(source, i))) for i in range(4)} == {30}
    speakers = {
        span.utterance.speaker
        for i in range(4)
        for seed in range(4)
        for span in sequence(make("insert", books, passage=140), i, seed)
        if isinstance(span, Speech)
    }
    assert len(speakers) > 2  # unless the recipe names voices, all that are for training


def test_levels_are_mixed_and_have_the_shares_of_the_paper(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("Nine days on. " * 12 + "\n", "utf-8")
    shares = {}
    for level in ("word", "sentence"):
        source = make("insert", path, voices=["en-us"], augment=0.0, insert={"level": level})
        counts = [parts(sequence(source, 0, seed)) for seed in range(150)]
        shares[level] = sum(heard for heard, _ in counts) / sum(map(sum, counts))
    # The last piece is never spoken: of about 5 pieces of 7.5 words, and of 12 sentences.
    assert shares == pytest.approx({"word": 0.3 * 4 / 5, "sentence": 0.4 * 11 / 12}, abs=0.05)
    mixed = make("insert", path, voices=["en-us"], insert={"level": "mixed", "words": 0.5})
    texts = [
        {span.text for span in sequence(mixed, 0, seed) if isinstance(span, Speech)}
        for seed in range(20)
    ]
    levels = [said == {"Nine days on."} for said in texts if said]
    assert set(levels) == {True, False}


def test_no_more_is_spoken_than_fits(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "a.txt").write_text("Nine days on. " * 60, "utf-8")
    source = make("insert", tmp_path / "t", voices=["en-us"], passage=900, insert={"share": 1.0})
    for seed in range(3):
        made = sequence(source, 0, seed)
        frames = sum(span.num_frames for span in made if isinstance(span, Speech))
        assert 15 < frames * 0.08 < 25  # seconds, of about 45
        assert sum(parts(made)) == 180


def test_a_text_in_so_many_takes_comes_again_sample_for_sample(books: Path) -> None:
    source = make("insert", books, passage=140, takes=2, insert={"share": 0.9})
    heard = []
    for seed in range(10):
        utterances = [s.utterance for s in sequence(source, 0, seed) if isinstance(s, Speech)]
        assert all(one.recorded for one in utterances)  # so their frames are kept
        heard.append(b"".join(one.samples.tobytes() for one in utterances))
    assert len(set(heard)) == 2
    anew = make("insert", books, passage=140, insert={"share": 0.9})
    assert not any(s.utterance.recorded for s in sequence(anew, 0) if isinstance(s, Speech))


# Shar folders ----------------------------------------------------------------------------


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """A Shar folder of nine recordings, two in a shard."""
    rows = []
    for n in range(9):
        soundfile.write(tmp_path / f"{n}.wav", np.full(1600 * (n + 1), 0.1), 16000)
        rows.append({"audio_filepath": f"{n}.wav", "text": f"text {n}", "first_pass": f"test {n}"})
    path = tmp_path / "manifest.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return pack(path, tmp_path / "shar", shard_size=2).path


def test_a_shar_folder_is_as_good_as_its_manifest(shards: Path) -> None:
    made, listed = (
        make("asr", data, augment=0.0) for data in (shards, shards.with_name("manifest.jsonl"))
    )
    assert (made.count, made.shards, listed.shards) == (9, (2, 2, 2, 2, 1), ())
    for i in range(9):
        assert made.item(i).cost == pytest.approx(listed.item(i).cost)
        (_, one, *rest), (_, other, *others) = sequence(made, i), sequence(listed, i)
        assert isinstance(one, Speech) and isinstance(other, Speech)
        assert rest == others
        np.testing.assert_allclose(one.utterance.samples, other.utterance.samples, atol=2**-15)


def test_batches_of_a_shar_folder_are_of_neighbouring_shards(shards: Path) -> None:
    source = make("asr", shards, augment=0.0)

    def heard(sequences: list[SpanSequence]) -> list[str]:
        return [
            one.utterance.text for spans in sequences for one in spans if isinstance(one, Speech)
        ]

    stream = BatchStream([source], heard, 1, 30, 10, pool=3)  # type: ignore[arg-type]
    drawn = [stream[i] for i in range(9)]
    assert [stream[i] for i in (7, 2, 5)] == [drawn[i] for i in (7, 2, 5)]
    order = [stream._example(0, i) for i in range(18)]
    assert sorted(order[:9]) == sorted(order[9:]) == list(range(9))


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("text", "a Shar folder of recordings; expected text for the 'text' source"),
        ("imitate", "a Shar folder, .* expected a manifest for 'imitate'"),
        ("insert", "a Shar folder of recordings; expected text for the 'insert' source"),
    ],
)
def test_tasks_that_do_not_take_a_shar_folder(shards: Path, task: str, message: str) -> None:
    with pytest.raises(DomainError, match=message):
        make(task, shards)


def test_a_shar_folder_without_what_its_task_needs(shards: Path, tmp_path: Path) -> None:
    source = make("interleave", shards)
    assert source.item(0).make(np.random.default_rng(1)) is None  # no word times
    listed = tmp_path / "manifest.jsonl"
    listed.write_text(listed.read_text("utf-8").replace("first_pass", "other"), "utf-8")
    bare, hears = pack(listed, tmp_path / "bare").path, Folders(hear=list)
    with pytest.raises(DomainError, match=r"no first pass, .* or 'first_pass: 0' in the source"):
        entry("asr", bare).examples(CHAT, hears)
    assert entry("asr", bare, first_pass=0).examples(CHAT, hears) is not None
    assert entry("asr", shards).examples(CHAT, hears) is not None
