"""Bringing bytes here: who waits for which, which share brings them, and what becomes of them."""
