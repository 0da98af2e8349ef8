"""Whether predictions that somebody acted on came true."""
