"""What fits: the memory there is, the memory a stage needs, and the choices between them."""
