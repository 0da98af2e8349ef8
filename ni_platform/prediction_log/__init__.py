"""Predictions that somebody acted on: kept as they were made, to be compared with what came."""
