"""The first step in a folder of one's own: `marsmith init`.

It recognises an architecture by the names and shapes of its tensors, and writes a project for it.
Nothing here imports torch, prints or asks; what is not sure comes back as a choice or a note.
"""
