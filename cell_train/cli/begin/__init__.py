"""To begin with: a demonstration, and a task of one's own."""
