"""What a lattice can be trained on: one package per task."""
