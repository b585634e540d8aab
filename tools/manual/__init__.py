"""The manual pages, written from what the commands say of themselves (tools/man)."""
