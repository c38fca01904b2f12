"""TorchServe's own APIs as faces: inference and management, over HTTP and gRPC."""
