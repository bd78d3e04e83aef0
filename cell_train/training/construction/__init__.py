"""A stage's state: made fresh, grown from another stage's, or as a checkpoint left it."""
