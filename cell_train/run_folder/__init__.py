"""A run's folder: its paths, its summary, what it began with, and all the runs there are."""
