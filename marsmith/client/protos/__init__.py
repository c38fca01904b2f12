"""gRPC services of TorchServe and of the Open Inference Protocol.

The .proto files, and beside them the modules that a build makes.
"""
