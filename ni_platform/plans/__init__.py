"""Plans of the next A/B test: which drafts, how much traffic, and what it is worth."""
