"""What this machine has: memory on the GPU or the system's, and what of it may be taken."""
