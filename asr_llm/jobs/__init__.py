"""What each command does, one file a command; nouns where jobs share something."""
