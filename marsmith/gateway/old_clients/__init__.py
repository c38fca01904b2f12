"""Routes for clients that exist already: `[gateway]` of archives.toml.

They read requests and write answers as those clients' own servers did.
"""
