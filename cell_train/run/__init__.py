"""Running stages: one subprocess each, its events, the display and the report."""
