"""Describe an archive, and compare two. Only `diff` runs archives, to compare answers.

The values are for the command line and for programs; `check` judges archives.
"""
