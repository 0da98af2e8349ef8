"""The papers' tables on a user's own data.

`definition` says what a table is (functions in `experiments/` return one), `run` trains or reuses
its rows and measures them, `report` writes the result as text, CSV, Markdown and a figure.
"""
