"""Compare mixes of pretraining: what each hears, and what is left of the language model.

    python adapt/small/compare.py --readers runs/mini-data/speech/heldout.jsonl
    python adapt/small/compare.py --rows "ASR only" "ASR + text" --seeds 1 2 3 ...

Each row of compare.yaml begins with `small`'s encoder and CTC head, a projector fitted to it, and
the LLM as it was published: what our training has done to it is undone, and there is no first pass.
Figures: WER of held-out readers (`basic`, four beams), and right answers to the questions of
eval/knowledge.yaml, asked in writing (T2T) and aloud (S2T); prompts of eval/instructions.yaml that
are followed, given in writing (I-T) and aloud (I-S). With --domains, of each the share of term
mentions missed in its test set (EER, raw); with --data, the share of the values found that people
ordered in recordings of coffee orders. With several seeds, the last lines of the table say what
each row changes against the first, paired by seed. What is finished is only read again, what was
stopped goes on; with --record, figures are kept in that file and taken from there. Ours are in
adapt/small/compared.jsonl.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from functools import cache
from pathlib import Path

import jiwer
import torch

from asr_llm.cli import silence_libraries
from asr_llm.corpus.domain.folder import Domain
from asr_llm.corpus.recordings.audio import cut_audio
from asr_llm.corpus.recordings.importers import read_manifest
from asr_llm.corpus.text.normalizers import normalize
from asr_llm.evaluation.instructions import InstructionSuite, Variant, read_instructions
from asr_llm.evaluation.spoken_qa import Suite, read_suite
from asr_llm.jobs import instruct, pretrain, qa
from asr_llm.jobs.held_out import held_out_sets
from asr_llm.jobs.measurement import System, measure
from asr_llm.model import checkpoint_folder, checkpoints, composition, foundations
from asr_llm.model.adapter_folder import AdapterFolder
from asr_llm.model.sources import tell

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE.parent), str(ROOT / "eval")]

from orders import read_orders, slots_found  # noqa: E402
from recognisers import by_us, some_of  # noqa: E402
from record import Figures, Record, difference, minutes, recipes, row  # noqa: E402

COLUMNS = ("WER readers", "T2T", "S2T", "gap", "I-T", "I-S")
ORDERS = "orders"


def main() -> None:
    """Run what is not finished, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--readers", type=Path, required=True, help="manifest of the test readers")
    parser.add_argument("--domains", type=Path, nargs="*", default=[], help="with a test set")
    parser.add_argument("--data", type=Path, help="folder with speech/coffee-orders")
    parser.add_argument("--limit", type=int, default=48, help="of readers' clips, and of orders")
    parser.add_argument("--rows", nargs="+", help="of compare.yaml; default: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--model", default="small", help="whose encoder and CTC head are used")
    parser.add_argument("--llm", default="small", help="the published LLM: see 'model compose'")
    parser.add_argument("--steps", type=int, help="in place of those of compare.yaml")
    parser.add_argument("--out", type=Path, default=Path("runs/compare-small"))
    parser.add_argument("--record", type=Path, help="JSON lines of figures, read and added to")
    arguments = parser.parse_args()
    silence_libraries()

    columns = [*COLUMNS, *map(_eer, arguments.domains), *([ORDERS] if arguments.data else [])]
    start = arguments.out / "start"
    if not start.is_dir():
        untrained(arguments.model, arguments.llm, start)
    record = Record(arguments.record, "pretraining")
    table: list[tuple[str, list[Figures]]] = []
    for name, recipe in recipes(HERE / "compare.yaml", arguments.rows):
        slug = re.sub(r"\W+", "-", name).strip("-").lower()
        found = []
        for seed in arguments.seeds:
            chosen = recipe.override(model=str(start), seed=seed, steps=arguments.steps)
            run = arguments.out / f"{slug}-{seed}"
            figures = record.trained(name, chosen)
            if figures is None:
                pretrain.pretrain(chosen, run=run, resume=run.is_dir(), progress=True)
                figures = measured(start, run, arguments)
                record.add(name, chosen, figures)
            found.append(figures)
        table.append((name, found))
        print(row(*table[-1], columns), flush=True)
    print(
        "\n| sources | "
        + " | ".join(columns)
        + " | minutes |\n"
        + "|---" * (2 + len(columns))
        + "|"
    )
    lines = [row(*one, columns) for one in table]
    if len(arguments.seeds) > 1:
        lines += [difference(*one, table[0][1], columns) for one in table[1:]]
    print("\n".join(lines))


def untrained(model: str, llm: str, folder: Path) -> None:
    """Write a checkpoint with the speech side of ``model`` and the LLM as it was published."""
    loaded = checkpoints.load(model)
    with tempfile.TemporaryDirectory() as place:
        encoder = foundations.find_encoder("small", Path(place), tell)
        published = composition.base_state(encoder, foundations.find_llm(llm, Path(place), tell))
    found = {k: t for k, t in published.items() if not k.startswith("perception.")}
    own = loaded.state_dict()
    if any(key not in own or own[key].shape != tensor.shape for key, tensor in found.items()):
        raise SystemExit(f"error: {llm} is not the LLM that {model} was made with")
    loaded.load_state_dict(found, strict=False)
    for key in [key for key in loaded.cfg if key.startswith("first_pass")]:
        del loaded.cfg[key]
    card = f"# {model}, untrained\n\nThe encoder and CTC head of {model}, and {llm}'s LLM.\n"
    checkpoint_folder.save(loaded, folder, card, dtype=torch.bfloat16)


def measured(start: Path, run: Path, arguments: argparse.Namespace) -> Figures:
    """What a run's model writes of recordings, and which questions it answers."""
    from asr_llm import SpeechLLM

    adapters = AdapterFolder.read_all(run / "adapter")
    trained = System("trained", str(start), adapters)
    cuts = some_of(list(read_manifest(arguments.readers)), arguments.limit)
    orders = some_of(list(read_orders(arguments.data)), arguments.limit) if arguments.data else []
    audios = [*map(cut_audio, cuts), *(order.samples for order in orders)]
    written = by_us(SpeechLLM.load(start, adapters), audios)  # whose memory what follows needs
    texts, ordered = written[: len(cuts)], written[len(cuts) :]
    right = sum(slots_found(order.slots, text) for order, text in zip(orders, ordered))
    said = [cut.supervisions[0].text or "" for cut in cuts]
    errors = jiwer.process_words(*([normalize(text, "basic") for text in x] for x in (said, texts)))
    asked, _ = qa.run_suite(*questions(), trained)
    told, _ = instruct.run_suite(*instructions(), trained)
    followed = {kind: told["standard"][kind]["prompt"]["strict"] for kind in ("text", "speech")}
    return {
        "WER readers": 100 * errors.wer,
        "insertions": errors.insertions,
        "deletions": errors.deletions,
        "T2T": 100 * asked["text"]["accuracy"],
        "S2T": 100 * asked["speech"]["accuracy"],
        "gap": 100 * asked["gap"]["difference"],
        "I-T": 100 * followed["text"]["share"],
        "I-S": 100 * followed["speech"]["share"],
        "minutes": minutes(run),
        **{_eer(domain): missed(trained, domain) for domain in arguments.domains},
        **({ORDERS: 100 * right / sum(len(order.slots) for order in orders)} if orders else {}),
    }


def missed(system: System, folder: Path) -> float:
    """Percent of the term mentions in a domain's test set that a system misses."""
    scores = measure([system], held_out_sets(Domain.load(folder), None))
    return 100 * float(scores["systems"][system.name]["entities"]["raw"]["eer"])


def _eer(domain: Path) -> str:
    return f"EER {domain.name}"


@cache
def questions() -> tuple[Suite, qa.SpokenParts]:
    """The questions, and how they sound: spoken once, and only if any are to be put."""
    suite = read_suite(ROOT / "eval" / "knowledge.yaml")
    return suite, qa.speak(suite)


@cache
def instructions() -> tuple[InstructionSuite, dict[Variant, list[instruct.Put]]]:
    """The instructions, and how they sound in the standard voices."""
    suite = read_instructions(ROOT / "eval" / "instructions.yaml", ("standard",))
    return suite, {"standard": instruct.speak(suite, "standard")}


if __name__ == "__main__":
    main()
