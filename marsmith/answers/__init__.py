"""Requests, responses, and samples: requests with the answers that prove a model.

Nothing here sends a request; this room describes requests and judges answers.
"""
