"""What was trained, or would be, looked at from outside: a grown shape, a task of one's own."""
