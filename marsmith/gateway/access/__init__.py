"""Who is let in to a gateway: hosts, origins, keys, limits, connections.

It stands before the faces, and knows none of them.
"""
