"""KServe's protocols: v1, and the Open Inference Protocol (v2) over HTTP and gRPC.

Each instance, or row of tensors, is one request to a model; the back end makes batches of them.
"""
