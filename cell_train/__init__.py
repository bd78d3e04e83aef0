"""celltrain: train a 3D lattice of cells that wire themselves by local plasticity."""

__version__ = "0.1.0"
