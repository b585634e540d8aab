"""The fault campaign: thousands of loads from shares that misbehave, every byte compared (`tools/faults`)."""
