"""Files of weights, read without running code from them: pickles, safetensors, ONNX, .pt2.

They give names, shapes, and values as bytes or NumPy arrays. Nothing here imports torch or
unpickles.
"""
