"""The benches behind scripts/bench.py, one a file."""
