"""Domain folders, recordings and text, read into Lhotse cuts."""

MIN_CONFIDENCE = 0.02
"""Alignments with lower confidence are dropped; chosen on right and wrong transcripts of synthetic
and real speech (eval/align_threshold.py)."""

MIN_COVERAGE = 0.7
"""Transcripts that cover a smaller share of the recognised speech are dropped: see eval/RESULTS.md
and eval/align_threshold.py."""
