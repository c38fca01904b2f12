"""One running TorchServe: start, readiness, state on disk, supervision, logs, figures.

What changes the versions that a running server serves is in `deploy`.
"""
