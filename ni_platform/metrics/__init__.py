"""How well predicted success rates agree with observed ones, with clustered intervals."""
