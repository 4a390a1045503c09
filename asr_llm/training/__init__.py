"""From recipe to run folder, for pretraining and adaptation."""
