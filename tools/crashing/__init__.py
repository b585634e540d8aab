"""Crash consistency, proven: what was acknowledged survives a SIGKILL and a power cut (`tools/crash`)."""
