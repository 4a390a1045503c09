"""Lines of text, and normalisers."""
