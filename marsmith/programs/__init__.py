"""Run as processes of their own, and never imported: workers, the fork server, exports.

Only these import torch or TorchServe.
"""
