"""What is compared: each module knows how one of them is mounted or run, by its usual options."""
