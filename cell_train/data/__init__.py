"""Texts to train on: found, read, split, counted and checked. No torch here."""
