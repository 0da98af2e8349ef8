"""What came out: status, tables, plots, the winner and its promotion."""
