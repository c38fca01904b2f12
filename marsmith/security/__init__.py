"""Who can reach a server and what can be trusted: exposure, TLS files, keys and signatures.

It decides and reads files. What starts a server with these decisions is in `server`.
"""
