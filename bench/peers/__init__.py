"""What users would pick instead: one small server each, as its own documentation recommends."""
