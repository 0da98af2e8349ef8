"""What to try next: spaces, samplers, the Optuna study."""
