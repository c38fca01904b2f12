"""Who can reach a server and what can be trusted: exposure, TLS files, keys and signatures.

It decides, and reads and writes files. What starts a server is in `server`.
"""
