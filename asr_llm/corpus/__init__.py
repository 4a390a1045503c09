"""The outside world (domain folders, recordings, text) into lhotse cuts."""

MIN_CONFIDENCE = 0.02
"""Alignments below it are dropped: chosen on right and wrong transcripts, of synthetic speech and
real (eval/align_threshold.py)."""

MIN_COVERAGE = 0.7
"""Transcripts that account for less of what is heard are dropped: see
eval/RESULTS.md and eval/align_threshold.py."""
