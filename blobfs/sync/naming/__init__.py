"""Names: what is known of them on this node's disk and in the shares' logs, and which of them counts."""
