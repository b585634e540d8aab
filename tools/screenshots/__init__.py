"""Pictures of what people see, of real runs (docs/images)."""
