"""Where a domain's terms are known: the loss on them where they are heard, and where only read.

    python eval/term_loss.py domains/medical --adapters runs/a/adapter runs/b/adapter

For the base and each adapter (put on the LLM, whether or not it is made to be fused): nats that a
mention costs, and a token of any other word, behind the speech of the sentence and with nothing
heard. What an adapter learned from text shows in the second; what of it reaches listening in the
first.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from asr_llm.cli import silence_libraries
from asr_llm.corpus.domain.folder import Domain
from asr_llm.corpus.recordings.audio import cut_audio
from asr_llm.corpus.speech.spoken import spoken_set
from asr_llm.decoding.prompts import prompt
from asr_llm.evaluation.entities import EntityFinder
from asr_llm.model import checkpoints, lora
from asr_llm.model.salm import SpanSALM
from asr_llm.sequences.batching import Collator


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("domain", type=Path)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--adapters", type=Path, nargs="*", default=[])
    parser.add_argument("--sentences", type=int, default=80, help="of the test set")
    arguments = parser.parse_args()
    silence_libraries()

    domain = Domain.load(arguments.domain)
    cuts = list(spoken_set(domain, "test"))[: arguments.sentences]
    finder = EntityFinder(domain.patterns())
    print(
        "| | mention, heard | other, heard | mention, read | other, read |\n|---|---|---|---|---|"
    )
    for adapter in [None, *arguments.adapters]:
        model = checkpoints.load(arguments.model).eval()
        if adapter is not None:
            lora.load(model, adapter, base=arguments.model)
        sums = torch.zeros(2, 2)  # heard, read; mentions, others
        counts = torch.zeros(2)
        for cut in cuts:
            text = cut.supervisions[0].text or ""
            spans = [(mention.start, mention.end) for mention in finder.find(text)]
            inside = _inside(model, text, spans)
            for how, samples in enumerate((cut_audio(cut), None)):
                losses = _losses(model, text, samples)
                sums[how] += torch.stack([losses[inside].sum(), losses[~inside].sum()])
            counts += torch.tensor([len(spans), int((~inside).sum())])
        (heard, other_heard), (read, other_read) = (sums / counts).tolist()
        name = adapter.parent.name if adapter else "base"
        print(f"| {name} | {heard:.1f} | {other_heard:.2f} | {read:.1f} | {other_read:.2f} |")


def _inside(model: SpanSALM, text: str, spans: list[tuple[int, int]]) -> torch.Tensor:
    """Which tokens (N,) of a text belong to a mention."""
    tokenizer = model.tokenizer.tokenizer
    ids = tokenizer.encode(text, add_special_tokens=False)
    ends = [
        len(tokenizer.decode(ids[: n + 1], clean_up_tokenization_spaces=False))
        for n in range(len(ids))
    ]
    places = zip([0, *ends], ends)
    return torch.tensor([any(a < end and b > start for start, end in spans) for a, b in places])


@torch.no_grad()
def _losses(model: SpanSALM, text: str, samples: np.ndarray | None) -> torch.Tensor:
    """Nats for each token (N,) of a text behind its speech, or alone: the first then costs none."""
    tokenizer = model.tokenizer.tokenizer
    ids = torch.tensor(tokenizer.encode(text, add_special_tokens=False))
    embeds = model.embed_tokens(ids)[None]
    if samples is not None:
        locator, pad = model.audio_locator_tag, model.text_pad_id
        batch = Collator(tokenizer, locator, pad, model.frame_samples)(
            [prompt(samples, model.chat)]
        )
        embeds = torch.cat([model.splice(batch).input_embeds, embeds], 1)
    scores = model.causal_lm.lm_head(model.hidden_states(embeds, None)).log_softmax(-1)[0, :-1]
    losses = -scores[-len(ids) :].gather(1, ids[-len(scores) :, None])[:, 0]
    return torch.nn.functional.pad(losses, (len(ids) - len(losses), 0))


if __name__ == "__main__":
    main()
