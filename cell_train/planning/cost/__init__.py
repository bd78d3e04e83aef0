"""What a stage costs in bytes and seconds, from its sizes alone."""
