"""The speech-LLM: NeMo's SALM with spliced speech spans, its checkpoints and LoRA adapters."""

import logging

# NeMo's telemetry is off, which it tells at every import.
logging.getLogger("nv_one_logger").setLevel(logging.ERROR)
