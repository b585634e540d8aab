"""What a node costs whose store is large (``tools/scale``)."""
