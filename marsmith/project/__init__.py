"""A project folder: archives.toml, archives.lock, and the files that an archive is made of.

Source files are read as text, never imported. What makes archives of them is in `building`.
"""
