"""A Gaussian process on what frozen encoders say of a content, for small data.

`config` says what it reads, `network` predicts, `fitting` fits it to training rows.
"""
