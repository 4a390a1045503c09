"""Print training examples: each is a tuple of text and speech spans.

python examples/02_sequences.py "The patient was started on metoprolol."
"""

import random
import sys

from asr_llm.corpus.speech.synthesis import synthesize
from asr_llm.sequences import tasks
from asr_llm.sequences.spans import Speech


def main() -> None:
    """Synthesise a sentence and print the sequence of each task."""
    text = sys.argv[1] if len(sys.argv) > 1 else "The patient was started on metoprolol."
    utterance = synthesize(text, "en-us+Annie")
    chat = tasks.Chat("<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>")
    sequences = {
        "asr": tasks.asr(utterance, chat),
        "text": tasks.text_only(text, chat),
        "denoise": tasks.denoise(text, chat, random.Random(1)),
        "word_synchronous": tasks.word_synchronous(utterance, chat) or (),
    }
    for name, sequence in sequences.items():
        print(f"\n{name}")
        for span in sequence:
            if isinstance(span, Speech):
                print(f"  speech  {span.num_frames} frames")
            else:
                print(f"  text{'*' if span.loss else ' '}   {span.text!r}")


if __name__ == "__main__":
    main()
