"""The local back end: workers of the gateway's own, in TorchServe's worker protocol, no Java."""
