"""The dtypes of tensors, by torch's names."""

from __future__ import annotations

# dtype → (torch's storage class, bytes per value, safetensors' name). A dtype without a class is
# stored untyped (torch/storage.py); safetensors does not support a dtype without a name.
DTYPES: dict[str, tuple[str | None, int, str]] = {
    "float64": ("DoubleStorage", 8, "F64"),
    "float32": ("FloatStorage", 4, "F32"),
    "float16": ("HalfStorage", 2, "F16"),
    "bfloat16": ("BFloat16Storage", 2, "BF16"),
    "int64": ("LongStorage", 8, "I64"),
    "int32": ("IntStorage", 4, "I32"),
    "int16": ("ShortStorage", 2, "I16"),
    "int8": ("CharStorage", 1, "I8"),
    "uint8": ("ByteStorage", 1, "U8"),
    "bool": ("BoolStorage", 1, "BOOL"),
    "complex64": ("ComplexFloatStorage", 8, "C64"),
    "complex128": ("ComplexDoubleStorage", 16, ""),
    "complex32": (None, 4, ""),
    "uint16": (None, 2, "U16"),
    "uint32": (None, 4, "U32"),
    "uint64": (None, 8, "U64"),
    "float8_e4m3fn": (None, 1, "F8_E4M3"),
    "float8_e4m3fnuz": (None, 1, "F8_E4M3FNUZ"),
    "float8_e5m2": (None, 1, "F8_E5M2"),
    "float8_e5m2fnuz": (None, 1, "F8_E5M2FNUZ"),
    "float8_e8m0fnu": (None, 1, "F8_E8M0"),
    "float4_e2m1fn_x2": (None, 1, ""),
    "bits8": (None, 1, ""),
    "bits1x8": (None, 1, ""),
    "bits2x4": (None, 1, ""),
    "bits4x2": (None, 1, ""),
    "bits16": (None, 2, ""),
}
# dtype → (NumPy dtype of its bits, a mask, the masked bits of NaN and infinity).
NOT_FINITE: dict[str, tuple[str, int, int]] = {
    "float64": ("<u8", 0x7FF0000000000000, 0x7FF0000000000000),
    "complex128": ("<u8", 0x7FF0000000000000, 0x7FF0000000000000),
    "float32": ("<u4", 0x7F800000, 0x7F800000),
    "complex64": ("<u4", 0x7F800000, 0x7F800000),
    "float16": ("<u2", 0x7C00, 0x7C00),
    "complex32": ("<u2", 0x7C00, 0x7C00),
    "bfloat16": ("<u2", 0x7F80, 0x7F80),
    "float8_e5m2": ("u1", 0x7C, 0x7C),
    "float8_e4m3fn": ("u1", 0x7F, 0x7F),
    "float8_e4m3fnuz": ("u1", 0xFF, 0x80),
    "float8_e5m2fnuz": ("u1", 0xFF, 0x80),
    "float8_e8m0fnu": ("u1", 0xFF, 0xFF),
}
