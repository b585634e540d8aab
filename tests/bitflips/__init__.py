"""Random bit flips in a store: what is found, what is mended, and that no reader ever sees one."""
