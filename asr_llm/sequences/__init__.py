"""Utterances and text become training sequences: tuples of text and speech spans."""
