"""The back end `torchserve`: running TorchServes, asked over HTTP."""
