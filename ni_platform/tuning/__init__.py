"""Hyperparameter search: which trials to run, and the study that keeps what they gave."""
