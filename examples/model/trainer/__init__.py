"""The trainer: from a revision to a registered version of the model."""
