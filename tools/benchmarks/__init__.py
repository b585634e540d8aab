"""Figures about loading: the real command against plain tools, on loopback (docs/benchmarks.md)."""
