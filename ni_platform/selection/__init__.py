"""Which attributes bear on the success rate, and how: M2FN Sections 6.3 and 6.3.1."""
