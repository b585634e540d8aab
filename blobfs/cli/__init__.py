"""The command line: one module a command, brought together in `main`."""
