"""A run folder's records, read within bounds and checked value by value."""
