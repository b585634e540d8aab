"""Every operation of the store fails once, and from there on: what each run ends in (`tools/disk-faults`)."""
