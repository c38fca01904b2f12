"""Files of weights, read without running what is in them: pickles, safetensors, ONNX, .pt2.

Names, shapes and values come out as NumPy arrays. Nothing here imports torch or unpickles.
"""
