"""What they are compared by: one module each, with a `measure` of its own."""
