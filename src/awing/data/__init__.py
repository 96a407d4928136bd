"""Data sets: official files -> records -> samples -> batches."""
