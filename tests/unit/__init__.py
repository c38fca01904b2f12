"""Unit tests, one file a module of marsmith/."""
