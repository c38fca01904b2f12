"""Find problems in an archive: static checks first, then checks that run its code.

One module for each kind of problem. Checks never change an archive and start no server.
"""
