"""The jobs behind the commands: adapt, evaluate, transcribe, pretrain. One call each.

Nothing heavy is imported before a job needs it: a refused run folder is refused at once.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_llm import __version__, defaults
from asr_llm.corpus.alignment import word_items
from asr_llm.corpus.audio import Source
from asr_llm.corpus.domain import Domain
from asr_llm.corpus.pieces import LONGEST_SECONDS
from asr_llm.decoding.options import NUM_BEAMS
from asr_llm.errors import (
    AsrLlmError,
    AudioError,
    CheckpointError,
    DomainError,
    RecipeError,
    RunError,
)
from asr_llm.files import new_folder, write_text
from asr_llm.measuring import (
    Progress,
    Report,
    System,
    general_set,
    held_out_sets,
    manifest_set,
    measure,
    told,
)
from asr_llm.model.adapter_folder import AdapterFolder
from asr_llm.recipe import Recipe, text_recipe
from asr_llm.sequences.sources import SpeechSource, untimed
from asr_llm.transcription.options import Recogniser, TranscribeOptions

if TYPE_CHECKING:
    from asr_llm.corpus.biasing_list import BiasingList
    from asr_llm.training.run_folder import RunFolder
    from asr_llm.training.train import Trained
    from asr_llm.transcription.journal import Journal
    from asr_llm.transcription.transcript import Segment, Transcript

REPORT = "report.html"
ORIGIN = "origin.json"
"""In the run folder of an adaptation: its domain and its base."""


@dataclass(frozen=True)
class Evaluation:
    """``scores`` as in ``scores.json``; ``folder`` holds it and the raw hypotheses, if any."""

    scores: dict[str, Any]
    folder: Path | None


@dataclass(frozen=True)
class AdaptResult:
    """What an adaptation left behind.

    ``adapter`` is None where the recipe trained the model itself, which then lies in
    ``trained_model``; ``scores`` is None where the domain has no test set. ``notes`` says what
    happened on the way that the user should know.
    """

    run: Path
    model: str
    adapter: Path | None
    trained_model: Path | None
    scores: dict[str, Any] | None
    notes: tuple[str, ...] = ()


def adapt(
    domain: str | Path,
    recipe: Recipe | None = None,
    *,
    model: str | None = None,
    seed: int | None = None,
    steps: int | None = None,
    run: str | Path | None = None,
    resume: bool = False,
    general: str | Path | None = None,
    report_audio: bool = True,
    report_text: bool = True,
    progress: Progress | None = None,
) -> AdaptResult:
    """Adapt a model to a domain, then measure base and adapted on what neither has heard.

    Args:
        domain: the domain folder.
        recipe: what to do; text-only adaptation unless given.
        model, seed, steps: take the place of the recipe's.
        run: the run folder; ``runs/<name of the domain>`` unless given.
        resume: go on with the run in that folder. A finished one is only scored again.
        general: domain folder whose test set shows forgetting; default: the one that the
            base checkpoint brings.
        report_audio, report_text: whether ``report.html`` plays and shows the test set.

    Raises:
        AsrLlmError: the domain, the recipe, the model or the run folder is at fault.
    """
    from asr_llm.model import checkpoints

    folder = Domain.load(domain)
    place = Path(run) if run is not None else Path("runs") / folder.name
    started = place / "recipe.yaml"
    if resume and recipe is None and started.is_file():
        recipe = Recipe.load(started)  # what was asked for when it began
    chosen = (recipe or text_recipe()).override(model=model, seed=seed, steps=steps)
    if chosen.create is not None:
        raise RecipeError(
            "the recipe has 'create', which makes a new model; expected 'model' for an "
            "adaptation: remove the key, or run 'asr-llm pretrain'"
        )
    if chosen.stages:
        raise RecipeError(
            "the recipe has 'stages', which are for training a base model; expected none for an "
            "adaptation: remove the key, or run 'asr-llm pretrain'"
        )
    base = checkpoints.locate(chosen.model)
    _refuse_used(place, resume)
    notes: list[str] = []
    with _run_folder(place, chosen, resume) as opened:
        _same_origin(opened, folder, chosen.model, base)
        sets = held_out_sets(folder, general_set(general, base))
        if _product(opened) is None:
            from asr_llm.training.train import train

            for split in ("train", "dev"):
                if _wants_word_times(chosen, folder, split):
                    folder = _with_word_times(folder, split, chosen.model, opened, notes, progress)
            done = train(chosen, opened, folder, resume=True, progress=progress is not None)
            notes += notes_of(done)
        adapter = opened.adapter if opened.adapter.is_dir() else None
        trained = opened.model if adapter is None else None
    scores = None
    if "domain" in sets:
        adapted = System("adapted", str(trained or chosen.model), AdapterFolder.read_all(adapter))
        report = Report(
            place / REPORT,
            f"{folder.name}: {chosen.model}, adapted",
            audio=report_audio,
            text=report_text,
            recipe=place / "recipe.yaml",
        )
        scores = measure([System("base", chosen.model), adapted], sets, place, progress, report)
    return AdaptResult(place, chosen.model, adapter, trained, scores, tuple(notes))


def evaluate(
    data: str | Path,
    *,
    model: str = defaults.MODEL,
    adapter: str | Path | Iterable[str | Path] | None = None,
    fusion: float | None = None,
    num_beams: int = NUM_BEAMS,
    first_pass: bool = True,
    biasing: BiasingList | None = None,
    baseline: str | Path | None = None,
    general: str | Path | None = None,
    output: str | Path | None = None,
    report: str | Path | None = None,
    report_audio: bool = True,
    report_text: bool = True,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure a model, and adapters beside it, on a test set.

    Args:
        data: a domain folder, of which the test set is taken, or a manifest of recordings
            (NeMo's, Lhotse's, ``trans.txt``), where words are scored but no entities.
        adapter: measured beside the model alone, or beside ``baseline``; of several, what they
            do together.
        fusion: weight of the adapters made from text, in place of their own.
        num_beams: hypotheses kept while decoding; 1 is greedy.
        first_pass: show the LLM what Whisper's own decoder writes, where the model brings that.
        biasing: phrases that all systems prefer, beside those that their adapters bring; WER is
            split by them.
        baseline: an adapter that takes the place of the model alone.
        general: domain folder or manifest that shows forgetting; default: the test set that
            the checkpoint brings, where ``data`` is a domain.
        output: new or empty folder for ``hypotheses/``, ``scores.json``, ``mentions.jsonl``,
            ``recordings.csv`` and ``report.html``.
        report: where the HTML report goes, in place of ``output``.
        report_audio, report_text: whether it plays and shows the test set.

    Raises:
        AsrLlmError: the data, the model, an adapter or ``output`` is at fault.
    """
    from asr_llm.model import checkpoints

    folders = AdapterFolder.read_all(adapter)
    if baseline is not None and not folders:
        raise AsrLlmError("--baseline is what --adapter is compared with: give --adapter too")
    baselines = AdapterFolder.read_all(baseline)
    _check_adapters(folders, fusion, biasing, baselines)  # before anything is decoded
    base = checkpoints.locate(model)
    place = new_folder(output) if output is not None else None

    is_domain = Path(data).is_dir()
    main = Domain.load(data) if is_domain else manifest_set(data)
    default = general_set(general, base) if is_domain or general is not None else None
    sets = held_out_sets(main, default)
    if "domain" not in sets:
        raise DomainError(
            f"{data}: no test set; expected test/text.txt, test recordings or test templates. "
            f"See: asr-llm domain check {data}"
        )
    options = TranscribeOptions(num_beams=num_beams, first_pass=first_pass, biasing=biasing)
    systems = [System("base", model, options=options)]
    if baselines:
        systems = [System("baseline", model, baselines, options)]
    if folders:
        own = replace(options, fusion=fusion)
        systems.append(System("adapted", model, folders, own))
    wanted = None
    if place is not None or report is not None:
        wanted = Report(
            Path(report) if report is not None else Path(place or "") / REPORT,
            f"{main.name if isinstance(main, Domain) else Path(data).name}: {model}",
            audio=report_audio,
            text=report_text,
        )
    return Evaluation(measure(systems, sets, place, progress, wanted), place)


def transcribe(
    paths: Iterable[str | Path | Source],
    options: TranscribeOptions = TranscribeOptions(),
    recogniser: Recogniser = Recogniser(),
    *,
    journal: Callable[[Source], Journal] | None = None,
    on_segment: Callable[[Segment], None] | None = None,
    progress: Progress | None = None,
    on_ready: Callable[[], None] | None = None,
    tell: Callable[[str], None] | None = None,
) -> Iterator[Transcript | AudioError]:
    """Transcribe audio files, in order; a file that cannot be read gives its error instead.

    Args:
        journal: where to keep what is decoded of a file until its transcript is there.
        on_segment: told each segment as soon as it is certain.
        on_ready: called when the model is loaded and the first file is about to be.
        tell: called with a line where word times were asked for and nothing can tell them.

    Raises:
        CheckpointError: the model or an adapter does not load.
    """
    files = [Source.of(path) for path in paths]
    unreadable = [_unreadable(source.path) for source in files]
    if all(unreadable):  # known without waiting for the model
        yield from filter(None, unreadable)
        return
    settings = text_settings(recogniser, options)  # before the model is loaded
    from asr_llm.transcription.speech_llm import SpeechLLM

    loaded = SpeechLLM.of(recogniser, options)
    if options.word_timestamps and loaded.aligner is None and tell is not None:
        tell(
            f"{recogniser.model} has no CTC head that could tell when words are said: segments "
            "only; for words give --aligner, a NeMo CTC model (.nemo) or mini"
        )
    if on_ready is not None:
        on_ready()
    adapters = "+".join(adapter["sha256"] for adapter in settings["adapters"]) or None
    meter = told(progress, "transcribing")
    for result in loaded.transcribe_many(files, meter, journal, on_segment):
        if not isinstance(result, AudioError):
            result = replace(
                result, model_sha256=settings["model"]["sha256"], adapter_sha256=adapters
            )
        yield result


_NO_SETTINGS = (
    "ctc_weight",
    "first_pass_weight",
    "confidence",
    "max_new_tokens",
    "bf16",
    "drafts",
    "keep_encoded",
)
"""Options that the command line has no flag for: they are what they always are."""


def text_settings(recogniser: Recogniser, options: TranscribeOptions) -> dict[str, Any]:
    """All that determines a transcript but for the audio: what an ``OutputFolder`` remembers.

    Raises:
        CheckpointError: there is no such model or adapter.
    """
    from asr_llm.model import checkpoints
    from asr_llm.model.adapters import fusion_weights

    _check_adapters(recogniser.adapters, options.fusion, options.biasing)
    folder = checkpoints.locate(recogniser.model)
    plain = {name: value for name, value in asdict(options).items() if name not in _NO_SETTINGS}
    return plain | {
        "asr_llm": __version__,
        "aligner": recogniser.aligner,
        "model": {"name": recogniser.model, "sha256": checkpoints.identity(folder)},
        "adapters": [
            {
                "name": str(adapter.path),
                "sha256": adapter.sha256,
                "biasing": adapter.biasing.strength if adapter.biasing else 0,
            }
            for adapter in recogniser.adapters
        ],
        "fusion": fusion_weights(recogniser.adapters, options.fusion),
    }


def _check_adapters(
    adapters: Sequence[AdapterFolder],
    fusion: float | None = None,
    biasing: BiasingList | None = None,
    baselines: Sequence[AdapterFolder] = (),
) -> None:
    """Refuse what would be refused once the model is loaded, or would change nothing."""
    from asr_llm.corpus.biasing_list import check_strength
    from asr_llm.model.adapters import fusion_weights

    if fusion is not None and not adapters:
        raise AsrLlmError("--fusion is the weight of an adapter: give --adapter too")
    fusion_weights(adapters, fusion)
    check_strength(biasing, [a.biasing for a in (*adapters, *baselines) if a.biasing is not None])


def _unreadable(path: Path) -> AudioError | None:
    from asr_llm.corpus.audio import audio_info

    try:
        audio_info(path)
    except AudioError as error:
        return error
    return None


def export(
    output: str | Path,
    *,
    model: str = defaults.MODEL,
    adapters: Sequence[str | Path] = (),
    merge: bool = False,
    llm_only: bool = False,
) -> Path:
    """Write a checkpoint that others can load, with adapters in its weights, in float32.

    Args:
        output: new or empty folder.
        adapters: of speech; several add up, as where they are in use together.
        merge: add them to the weights, and so a LoRA that the checkpoint came with.
        llm_only: the LLM and its tokenizer for Hugging Face, in place of the whole.

    Returns:
        ``output``, where a complete checkpoint now lies.

    Raises:
        AsrLlmError: the model, an adapter or ``output`` is at fault.
    """
    from asr_llm.model import checkpoints
    from asr_llm.model.merged import export as write

    place = new_folder(output)
    if adapters and not merge:
        raise AsrLlmError(
            "an exported checkpoint holds adapters only as part of its weights: add --merge. (An "
            "adapter alone needs no export: its folder is in PEFT's own layout)"
        )
    read = AdapterFolder.read_all(adapters)
    checkpoints.locate(model)
    write(place, model, read, merge=merge, llm_only=llm_only)
    return place


def pretrain(
    recipe: Recipe, *, run: str | Path | None = None, resume: bool = False, progress: bool = False
) -> Trained:
    """Carry out a recipe that needs no domain, such as a stage of `mini`.

    Args:
        run: the run folder; ``runs/<name of the recipe>`` unless given.

    Raises:
        AsrLlmError: the recipe, its data, its model or the run folder is at fault.
    """
    place = Path(run) if run is not None else Path("runs") / recipe.name
    folders = [place]
    if recipe.stages:
        folders = [place / f"{i}-{stage.name}" for i, stage in enumerate(recipe.stages, start=1)]
    _refuse_used(folders[0], resume)
    from asr_llm.training.train import train

    before: Path | None = None
    for folder, stage in zip(folders, recipe.in_stages()):
        chosen = stage.override(model=str(before) if before else None)
        with _run_folder(folder, chosen, resume) as opened:
            done = train(chosen, opened, resume=True, progress=progress)
        before = done.model
    return done


# Training ------------------------------------------------------------------------------


def notes_of(trained: Trained) -> list[str]:
    """What to tell of a training that left something out, or was stopped by its monitor."""
    notes = [untimed(trained.left_out)] if trained.left_out else []
    if trained.stopped is not None:
        notes.append(
            f"stopped at step {trained.stopped}: the loss on general speech had risen by more than "
            "validation.max_rise allows; the best weights from before are kept, if there were any"
        )
    return notes


def _wants_word_times(recipe: Recipe, domain: Domain, split: str) -> bool:
    """Whether recordings without word times are to be interleaved, or too long to stay whole."""
    sources = recipe.sources if split == "train" else recipe.held_out_sources
    heard = [s for s in sources if isinstance(s, SpeechSource) and s.data == "domain"]
    heard = [s for s in heard if s.speech != "synthetic"]
    cuts = domain.recordings(split) if heard else None
    interleaved = any(s.needs_word_times for s in heard)
    return any(
        interleaved or cut.duration > LONGEST_SECONDS for cut in cuts or () if not word_items(cut)
    )


def _with_word_times(
    domain: Domain,
    split: str,
    model: str,
    run: RunFolder,
    notes: list[str],
    progress: Progress | None,
) -> Domain:
    """The domain with the recordings of a split aligned, by the base model's own CTC head."""
    from asr_llm.aligning import align_manifest

    manifest, aligned = domain.manifest(split), run.path / "alignment" / f"{split}.jsonl.gz"
    assert manifest is not None
    if not aligned.is_file():
        try:
            done = align_manifest(manifest, aligned, model=model, anew=False, progress=progress)
        except CheckpointError as error:
            raise RecipeError(
                f"to interleave recordings, or cut those longer than {LONGEST_SECONDS:g} s, one "
                f"has to know when each word of {manifest} is said, and {error}. "
                f"Align it first: asr-llm align {manifest} --model CTC.nemo"
            ) from error
        notes += [f"left out {dropped.id}: {dropped.reason}" for dropped in done.dropped]
    return replace(domain, manifests={**domain.manifests, split: aligned})


def _refuse_used(place: Path, resume: bool) -> None:
    """At once; ``RunFolder.open``, which has the last word, is seconds of imports away."""
    if not resume and (place / "recipe.yaml").is_file():
        raise RunError(
            f"{place} already holds a run; expected a new folder: choose another with -o, or go "
            "on with --resume"
        )


@contextmanager
def _run_folder(place: Path, recipe: Recipe, resume: bool) -> Iterator[RunFolder]:
    """The run folder, opened and locked. A run refused before its first checkpoint leaves none."""
    from asr_llm.training.run_folder import RunFolder

    run = RunFolder(place)
    run.open(recipe, resume)
    with run.locked():
        try:
            yield run
        except Exception:
            made = (run.last_checkpoint(), run.best_checkpoint(), _product(run))
            if not any(made):
                for path in (run.recipe, run.metrics, run.path / ORIGIN):
                    path.unlink(missing_ok=True)
                for made_before in (run.checkpoints, run.path / "alignment"):
                    shutil.rmtree(made_before, ignore_errors=True)
            raise


def _product(run: RunFolder) -> Path | None:
    """What a run was for; it is written whole, last of all."""
    return next((path for path in (run.adapter, run.model) if path.is_dir()), None)


def _same_origin(run: RunFolder, domain: Domain, model: str, base: Path) -> None:
    """Remember what a run adapts, and refuse to go on with another domain or base in it."""
    from asr_llm.model.checkpoints import identity

    path = run.path / ORIGIN
    origin = {"domain": domain.name, "model": model, "sha256": identity(base)}
    if not path.is_file():
        with run.disk_errors():
            write_text(path, json.dumps(origin, indent=2) + "\n")
        return
    before = json.loads(path.read_text("utf-8"))
    if before["domain"] != domain.name:
        raise RunError(
            f"{run.path} adapts to the domain {before['domain']!r}, not {domain.name!r}; "
            "choose another folder with -o"
        )
    if before["sha256"] != origin["sha256"]:
        raise RunError(
            f"{run.path} began with other weights of {before['model']} "
            f"({before['sha256'][:12]}…, now {origin['sha256'][:12]}…); "
            "choose another folder with -o"
        )
