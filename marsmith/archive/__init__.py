"""The .mar file as a value: its containers, manifest, requirements and bill of materials.

Archives are opened and read here. What writes one is in `building`; what runs one in `worker`.
"""
