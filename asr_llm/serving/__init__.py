"""OpenAI's transcription interface as a web server. Needs the extra ``serve``."""
