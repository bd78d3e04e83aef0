"""The text task: words go in at one face and are read back at the other."""
