"""The speech-LLM: NeMo's SALM with spliced speech spans, its checkpoints and LoRA adapters."""
