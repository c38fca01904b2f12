"""Measurements: everything quoted in the documentation comes from here."""
