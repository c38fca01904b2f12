"""An archive answers as a TorchServe worker would, without a server.

Workers run as processes of their own, or in this process. Nothing here judges the answers.
"""
