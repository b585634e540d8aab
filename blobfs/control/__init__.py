"""The unix socket through which a running node is asked and told things."""
