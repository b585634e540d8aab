"""Servers that tests ask: a real nginx, and one that does exactly what it is told."""
