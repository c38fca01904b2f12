"""Changes to a running server that lose no request: versions, canaries, workers.

Each change is undone step by step if it fails. What starts and stops a server is in `server`.
"""
