"""What a model is worth on A/B tests that really happened, in clicks."""
