"""Changes to a running server that lose no request: versions, canaries, workers.

Each change can be undone step by step. What starts and stops a server is in `server`.
"""
