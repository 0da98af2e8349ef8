"""Attributes that are computed from pictures and texts (M2FN Section 4, Table 1)."""
