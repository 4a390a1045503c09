"""The outside world (domain folders, recordings, text) into lhotse cuts."""
