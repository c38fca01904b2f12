"""Handlers for TorchServe out of the box, as people write them from its documentation."""
