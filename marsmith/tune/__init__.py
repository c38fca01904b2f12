"""The search for the best serving configuration of an archive, under real load.

Trials run on a TorchServe of their own, never on one that serves.
"""
