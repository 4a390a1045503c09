"""Scoring of references, hypotheses and entities: counts, rates and intervals. No torch."""
