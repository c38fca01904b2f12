"""Image handlers for TorchServe archives: a shared base, and handlers that are ready to use.

`marsmith build` puts the modules that a handler imports into its archive, as this folder.
They import neither Marsmith nor each other's names from here: import from the modules.
"""
