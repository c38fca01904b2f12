"""What TorchServe reads and writes: configuration, environment, protocol, logs and metrics.

These are facts about TorchServe 0.12. What starts or steers one is in `server`.
"""
