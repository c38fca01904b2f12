"""What is known of each request while it is answered: counted, logged and traced.

It knows no protocol, and decides nothing.
"""
