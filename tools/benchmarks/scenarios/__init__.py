"""One scenario a module: each starts what it needs, measures, prints a table and leaves nothing behind."""
