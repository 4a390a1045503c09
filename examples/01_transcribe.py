"""Transcribe a recording with the default model, and an adapter if given.

python examples/01_transcribe.py talk.wav [runs/demo/adapter]
"""

import sys

from asr_llm import SpeechLLM


def main() -> None:
    """Print each segment with its start and end in seconds."""
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    adapter = sys.argv[2] if len(sys.argv) > 2 else None
    model = SpeechLLM.load(adapter=adapter)
    for segment in model.transcribe(sys.argv[1]):
        print(f"{segment.start:7.2f} {segment.end:7.2f}  {segment.text}")


if __name__ == "__main__":
    main()
