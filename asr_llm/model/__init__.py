"""The speech-LLM: NeMo's SALM with spliced speech spans, its checkpoints and LoRA adapters."""

import logging

# NeMo announces at every import that its telemetry is off.
logging.getLogger("nv_one_logger").setLevel(logging.ERROR)
