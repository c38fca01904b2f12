"""What needs a GPU; skipped by name where there is none."""
