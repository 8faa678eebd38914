"""Writer of the golden files (format: golden_file.h) and the hash that fills tensors on both sides."""
import struct

import numpy as np

F32, U8, I64, F64, TEXT, FILL, SAMPLE = range(7)
MAGIC = b"USGOLD1\n"


def uniform(seed, count):
    """`count` numbers in [0, 1) with 24 bits each; golden_uniform in golden_file.c is the same function."""
    with np.errstate(over="ignore"):
        x = np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B1) + np.uint32(seed * 0x85EBCA77 & 0xFFFFFFFF)
        x ^= x >> np.uint32(16)
        x *= np.uint32(0x7FEB352D)
        x ^= x >> np.uint32(15)
        x *= np.uint32(0x846CA68B)
        x ^= x >> np.uint32(16)
    return (x >> np.uint32(8)).astype(np.float64) * 2.0 ** -24


def fill(seed, shape, low, high):
    """float32 tensor, uniform in [low, high). low and the range are float32, so the product is exact in double."""
    low, span = np.float32(low), np.float32(high) - np.float32(low)
    values = np.float64(low) + np.float64(span) * uniform(seed, int(np.prod(shape)))
    return values.astype(np.float32).reshape(shape)


class Fill:
    """A tensor that the file describes by seed and bounds instead of storing it."""

    def __init__(self, seed, shape, low, high):
        self.seed, self.shape = seed, tuple(shape)
        self.low, self.span = np.float32(low), np.float32(high) - np.float32(low)
        self.values = fill(seed, shape, low, high)


def sample_stride(count, cap):
    """1 when everything is kept, else a prime: it meets every channel and tap."""
    if count <= cap:
        return 1
    for p in (2, 5, 7, 11, 13, 17, 23, 31, 41, 53, 71, 97, 131, 179, 241, 331, 449, 601, 809, 1087, 1459, 1949, 2609,
              3491, 4673, 6257, 8387, 11251, 15107, 20261):
        if count <= cap * p:
            return p
    raise ValueError(count)


class Sample:
    """Every stride-th value of a tensor, its largest magnitude, and a projection that all values take part in."""

    def __init__(self, array, cap):
        a = np.asarray(array, dtype=np.float64)
        flat = a.reshape(-1)
        self.shape, self.stride = a.shape, sample_stride(flat.size, cap)
        self.projection = float(np.dot(flat, 2 * uniform(7, flat.size) - 1))
        self.max_abs = float(np.abs(flat).max()) if flat.size else 0.0
        self.values = flat[::self.stride].astype("<f4")


def record(name, value):
    if isinstance(value, str):
        raw = value.encode()
        return header(name, TEXT, (len(raw),)) + raw
    if isinstance(value, Fill):
        return header(name, FILL, value.shape) + struct.pack("<Iff", value.seed, value.low, value.span)
    if isinstance(value, Sample):
        extra = struct.pack("<Idd", value.stride, value.projection, value.max_abs)
        return header(name, SAMPLE, value.shape) + extra + value.values.tobytes()
    value = np.asarray(value)
    kinds = {"float32": (F32, "<f4"), "uint8": (U8, "u1"), "int64": (I64, "<i8"), "float64": (F64, "<f8")}
    kind, layout = kinds[value.dtype.name]
    return header(name, kind, value.shape) + np.ascontiguousarray(value.astype(layout)).tobytes()


def header(name, kind, shape):
    raw = name.encode()
    n = len(shape)
    return struct.pack("<H", len(raw)) + raw + struct.pack(f"<BB{n}I", kind, n, *shape)


def write(path, records):
    """records: dict or list of (name, value)."""
    items = list(records.items() if isinstance(records, dict) else records)
    assert len({n for n, _ in items}) == len(items), "duplicate record"
    with open(path, "wb") as f:
        f.write(MAGIC + struct.pack("<I", len(items)))
        for name, value in items:
            f.write(record(name, value))


def options_text(options):
    return "".join(f"{k}={v!r}\n" if isinstance(v, float) else f"{k}={v}\n" for k, v in options.items())


def write_safetensors(path, tensors, sort=False, metadata=None):
    """A safetensors file. sort: names in alphabetical order, as the `safetensors` package lays them out."""
    import json
    head, offset, blobs = ({"__metadata__": metadata} if metadata else {}), 0, []
    for name in sorted(tensors) if sort else tensors:
        a = np.asarray(tensors[name])
        kind = {"float32": "F32", "int64": "I64"}[a.dtype.name]
        raw = a.tobytes()
        head[name] = {"dtype": kind, "shape": list(a.shape), "data_offsets": [offset, offset + len(raw)]}
        offset += len(raw)
        blobs.append(raw)
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))
