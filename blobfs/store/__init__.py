"""This node's disk: blobs, names, what is being written or loaded. Blocking; the only writer there."""
