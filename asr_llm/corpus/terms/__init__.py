"""The terms of a domain: lists of them, where they stand in text, new ones from text."""
