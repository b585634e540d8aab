"""The composition root: one running node, from its settings to its end."""
