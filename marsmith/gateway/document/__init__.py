"""What each model takes and gives, as its archive tells it, and the OpenAPI document made of that.

Nothing here asks a model, or knows more of one than its archive and its samples.
"""
