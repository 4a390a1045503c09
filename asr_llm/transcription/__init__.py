"""From audio files of any length to transcripts."""
