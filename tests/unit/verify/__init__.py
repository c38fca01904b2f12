"""Tests of marsmith/verify/."""
