"""Checks: plain functions that yield findings and change nothing."""
