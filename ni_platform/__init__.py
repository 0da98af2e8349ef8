"""Experiment tracking for marketing content: learn from A/B tests what makes content work."""

__version__ = "0.1.0"
