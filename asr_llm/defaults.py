"""What is taken where nothing is said."""

import os

MODEL = os.environ.get("ASR_LLM_MODEL") or "small"
"""The model of every command: hears people, composed on first use (``model/store.py``)."""
