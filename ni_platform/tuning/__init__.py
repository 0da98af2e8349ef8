"""Sweeps: one experiment trained with many settings, searched by Optuna, run by Ray Tune."""
