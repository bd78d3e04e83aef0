"""Figures of a run in the trackers people already have."""
