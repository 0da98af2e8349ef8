"""Exports of marketing tools as datasets: profiles say what a file means, one engine reads all."""
