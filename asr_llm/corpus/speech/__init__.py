"""Synthesised speech: voices, what they say, and what is done to how it sounds."""
