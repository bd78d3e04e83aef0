"""A trained lattice as one page in which it lives: its numbers, its story, and what runs it."""
