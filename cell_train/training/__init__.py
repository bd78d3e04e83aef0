"""The worker's half: one stage from its resolved.yaml to its last checkpoint."""
