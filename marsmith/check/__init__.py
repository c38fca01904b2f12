"""Findings about an archive, from cheap and safe to what runs its code.

One module a kind of fault. It never changes an archive and starts no server.
"""
