"""Transcribe recordings with the embedded model, and with an adapter if one is given.

python examples/01_transcribe.py talk.wav [runs/demo/adapter]
"""

import sys

from asr_llm import SpeechLLM


def main() -> None:
    """Print each segment of the first argument with its times."""
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    adapter = sys.argv[2] if len(sys.argv) > 2 else None
    model = SpeechLLM.load("mini", adapter=adapter)
    for segment in model.transcribe(sys.argv[1]):
        print(f"{segment.start:7.2f} {segment.end:7.2f}  {segment.text}")


if __name__ == "__main__":
    main()
