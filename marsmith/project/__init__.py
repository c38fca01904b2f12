"""A project folder: archives.toml, archives.lock, and the files that go into an archive.

Source files are read as text, never imported. `building` makes archives of them.
"""
