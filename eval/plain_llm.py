"""Ask an LLM itself what a suite asks in writing: by transformers, without anything of ours.

    python eval/plain_llm.py eval/knowledge.yaml eval/instructions.yaml [--llm small]

What `asr-llm qa` and `instruct` say of the same suites shows what the LLM lost, or gained, when it
learned to read speech. The LLM is the one that `small` is built on, as published (fetched if need
be), or another: a folder, or a name on the hub. Prompts are put by its own chat template,
system prompt included; answers are greedy.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from asr_llm.evaluation.instructions import InstructionSuite, judge, read_instructions, summarize
from asr_llm.evaluation.spoken_qa import Suite, is_right, read_suite
from asr_llm.evaluation.spoken_qa import summarize as summarize_qa
from asr_llm.model.foundations import find_llm

BATCH = 16


class Llm:
    """An LLM with its chat template."""

    def __init__(self, source: str) -> None:
        with tempfile.TemporaryDirectory() as place:
            found = find_llm(source, Path(place), lambda text: print(text, flush=True))
        self.tokenizer = found.tokenizer
        self.tokenizer.padding_side = "left"
        self.model = AutoModelForCausalLM.from_config(found.config).eval()
        self.model.load_state_dict(found.weights, strict=False)
        self.model.tie_weights()

    def prompt(self, text: str) -> str:
        said = [{"role": "user", "content": text}]
        return self.tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)

    @torch.inference_mode()
    def answers(self, texts: list[str], most: int) -> list[str]:
        out: list[str] = []
        for i in range(0, len(texts), BATCH):
            prompts = [self.prompt(text) for text in texts[i : i + BATCH]]
            read = self.tokenizer(
                prompts, return_tensors="pt", padding=True, add_special_tokens=False
            )
            end = self.tokenizer.convert_tokens_to_ids("<|im_end|>")
            ids = self.model.generate(
                **read, max_new_tokens=most, do_sample=False, eos_token_id=end, pad_token_id=end
            )
            new = ids[:, read["input_ids"].shape[1] :]
            out += [x.strip() for x in self.tokenizer.batch_decode(new, skip_special_tokens=True)]
        return out

    @torch.inference_mode()
    def likeliest(self, text: str, choices: tuple[str, ...]) -> str:
        """The choice whose tokens have the highest log-probability in all."""
        before = self.tokenizer(self.prompt(text), add_special_tokens=False)["input_ids"]
        rows = [self.tokenizer(c, add_special_tokens=False)["input_ids"] for c in choices]
        longest = max(map(len, rows))
        padded = [[*before, *row, *[0] * (longest - len(row))] for row in rows]
        logits = self.model(torch.tensor(padded)).logits[:, len(before) - 1 : -1].log_softmax(-1)
        sums = [sum(float(own[k, t]) for k, t in enumerate(r)) for own, r in zip(logits, rows)]
        return choices[sums.index(max(sums))]


def questions(llm: Llm, suite: Suite) -> dict[str, Any]:
    """Right answers of those written freely, and of the choices by likelihood."""
    asked = suite.questions
    free = llm.answers([q.question for q in asked], suite.config.max_new_tokens)
    chosen = [llm.likeliest(q.question, q.choices) for q in asked]
    right = {
        "contains": [is_right(said, q, "contains") for said, q in zip(free, asked)],
        "likelihood": [is_right(said, q, "likelihood") for said, q in zip(chosen, asked)],
    }
    return {
        name: summarize_qa({"text": flags, "speech": flags})["text"]
        for name, flags in right.items()
    }


def instructions(llm: Llm, suite: InstructionSuite) -> dict[str, Any]:
    """What is followed in writing."""
    prompts = [one.prompt for one in suite.instructions]
    said = llm.answers([prompt.text for prompt in prompts], suite.config.max_new_tokens)
    verdicts = [judge(text, prompt) for text, prompt in zip(said, prompts)]
    return summarize(prompts, verdicts, verdicts)["text"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("suites", nargs="+", type=Path)
    parser.add_argument("--llm", default="small")
    given = parser.parse_args()
    llm = Llm(given.llm)
    for path in given.suites:
        if "instructions:" in path.read_text("utf-8"):
            found = instructions(llm, read_instructions(path))
        else:
            found = questions(llm, read_suite(path))
        print(json.dumps({path.stem: found}, indent=2), flush=True)


if __name__ == "__main__":
    main()
