"""What can be said of the keys: their reference, their history, their JSON Schema."""
