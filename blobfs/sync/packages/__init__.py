"""Packages: the NeededBlobs transaction, the tree that a manifest describes, and how its blobs come here."""
