"""Audio files of any length in, transcripts out."""
