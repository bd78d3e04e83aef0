"""A shape that grows from one cell and grows again where it is cut."""
