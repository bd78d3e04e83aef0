"""Measurements of a lattice: clusters, periodic structure, free dynamics. They change nothing."""
