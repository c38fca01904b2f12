"""What proves a model: messages, pictures, samples, and whether an answer agrees with one expected.

Nothing here sends a request; it says what a request holds and judges what came back.
"""
