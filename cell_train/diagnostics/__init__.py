"""This machine examined: what is wrong with it, and how fast it is."""
