"""Training sequences from utterances and text: tuples of text and speech spans."""
