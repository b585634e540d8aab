"""The model test: operations drawn by hypothesis, done on real mounts and in a dictionary, and compared."""
