"""What stands before a gateway's faces: who is let in, and what is counted, logged and traced.

It knows no protocol and no back end.
"""
