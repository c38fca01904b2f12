"""gRPC services of TorchServe, of the Open Inference Protocol, and of existing clients.

The .proto files, and beside them the modules that a build makes.
"""
