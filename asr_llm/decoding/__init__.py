"""Decoding: one decoder, one set of options. See docs/decoding.md."""
