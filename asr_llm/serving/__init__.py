"""OpenAI's transcription API as a web server. Needs the extra ``serve``."""
