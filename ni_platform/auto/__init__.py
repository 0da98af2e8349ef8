"""`ni train auto`: models from cheap to dear on one split, one of them chosen by validation.

`candidates` says what is tried and how long that takes, `search` tries and chooses, `verdict` says
in words what was decided, why, and whether the data suffice for it, and `outcome` holds all of it.
"""
