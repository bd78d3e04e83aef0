"""Ways to harm a run, each with what must be true of it afterwards."""
