"""Errors, findings and the operating system: files put in place, file locks, processes, signals.

Every other room builds on this one. Nothing here knows about archives, models or servers.
"""
