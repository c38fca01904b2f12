"""One front door to models, whichever host answers: an ASGI application over a back end.

Faces read requests in one protocol each, and ask a back end: workers of the gateway's own (local),
or running TorchServes. A face knows no back end, and a back end knows no HTTP.
"""
