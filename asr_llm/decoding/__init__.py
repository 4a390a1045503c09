"""Audio in, text out: one decoder, one set of options, and what composes in it."""
