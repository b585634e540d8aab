"""Brings the store and the shares together: sealing what was written, loading what is missing."""
