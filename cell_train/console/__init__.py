"""What a terminal shows: a run while it goes on, plans, tables."""
