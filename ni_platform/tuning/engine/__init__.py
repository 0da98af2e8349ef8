"""Who trains the trials, and what is written down of them."""
