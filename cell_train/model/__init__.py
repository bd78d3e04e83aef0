"""The lattice: its geometry and connections, the rule its cells share, and a presentation."""
