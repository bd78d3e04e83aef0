"""Patterns stored by plasticity, recalled from damaged cues."""
