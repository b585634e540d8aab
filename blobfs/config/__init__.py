"""What can be set, and where it is set: values, the configuration file, options. Starts nothing."""
