"""Recorded speech: audio, manifests, word times."""
