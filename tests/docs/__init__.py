"""What the documentation shows works: links, paths, commands, code."""
