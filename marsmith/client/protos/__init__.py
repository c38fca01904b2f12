"""TorchServe's gRPC services: the .proto files, and beside them the modules that a build makes."""
