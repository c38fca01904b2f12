"""What people meet at the front door: the page, Swagger UI, the document, and models' samples.

The page is plain files in static/, run as they are by a browser; it asks models as any caller does.
"""
