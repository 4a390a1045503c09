"""What each command does, one file per command, plus what they share."""
