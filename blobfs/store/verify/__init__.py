"""Verification of a whole store: what is wrong in it is found, told and, where asked, mended. Blocking."""
