"""What becomes of a node that reads more than it may keep: `tools/quota`."""
