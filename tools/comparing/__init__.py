"""Compares blobfs with what people use instead, on the same content in the same run: `tools/bench`."""
