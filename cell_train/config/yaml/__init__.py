"""YAML text to a tree whose every node knows where it stands."""
