"""Whether a model in use still does what it was promoted for: drift of inputs and accuracy."""
