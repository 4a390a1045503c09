"""Defaults."""

import os

MODEL = os.environ.get("ASR_LLM_MODEL") or "small"
"""Default model of every command, composed on first use (``model/store.py``)."""
