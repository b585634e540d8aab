"""blobfs: a file system that shares what is written to it and loads what is read from it."""
