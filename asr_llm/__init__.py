"""asr_llm teaches a speech-LLM recogniser the words of a domain, and proves that it did."""

__version__ = "0.1.0"
