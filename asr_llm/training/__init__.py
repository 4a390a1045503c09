"""A recipe becomes a run folder: pretraining and adaptation alike."""
