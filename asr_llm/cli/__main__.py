"""``python -m asr_llm.cli`` is the command ``asr-llm``."""

from asr_llm.cli import main

if __name__ == "__main__":
    main()
