"""A domain folder: its files, what is wrong with them, an example to begin with."""
