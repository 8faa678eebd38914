"""Writers of tiny pictures in the formats of the data sets, with nothing but Python's own library."""
import gzip
import struct
import zlib


def photo_bytes(width, height, salt=0):
    """Packed R G B: a lit disc with a dark line through it."""
    rows = bytearray()
    for y in range(height):
        for x in range(width):
            inside = (2 * x - width) ** 2 + (2 * y - height) ** 2 < min(width, height) ** 2
            vessel = abs(y - height // 2 - (x + salt) % 7) < 2
            rows += bytes((190, 60 if vessel else 120, 40)) if inside else b"\2\2\2"
    return bytes(rows)


def label_bytes(width, height, salt=0):
    return bytes(255 if abs(y - height // 2 - (x + salt) % 7) < 2 else 0 for y in range(height) for x in range(width))


def mask_bytes(width, height):
    side = min(width, height) ** 2
    return bytes(255 if (2 * x - width) ** 2 + (2 * y - height) ** 2 < side else 0
                 for y in range(height) for x in range(width))


def png(width, height, channels, data, bits=8):
    row = width * channels * bits // 8
    raw = b"".join(b"\0" + data[y * row:(y + 1) * row] for y in range(height))

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, bits, 2 if channels == 3 else 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def png_header_only(width, height):
    """A valid PNG whose header claims a size that its data does not have."""
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def pnm(width, height, channels, data):
    return b"P%d\n# made by a test\n%d %d\n255\n" % (6 if channels == 3 else 5, width, height) + data


def ppm_gz(width, height, channels, data):
    return gzip.compress(pnm(width, height, channels, data), mtime=0)


def gray_to_rgb(data):
    return bytes(v for v in data for _ in range(3))


def tiff(width, height, channels, data, bits=8):
    """Uncompressed, one strip, little-endian."""
    entries = [(256, 3, width), (257, 3, height), (258, 3, bits), (259, 3, 1), (262, 3, 2 if channels == 3 else 1),
               (273, 4, 0), (277, 3, channels), (278, 3, height), (279, 4, len(data))]
    extra = struct.pack("<HHH", bits, bits, bits) if channels == 3 else b""
    start = 8 + 2 + 12 * len(entries) + 4
    out = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(entries))
    for tag, kind, value in entries:
        count = 1
        if tag == 258 and channels == 3:
            count, value = 3, start
        if tag == 273:
            value = start + len(extra)
        packed = struct.pack("<HH", value, 0) if kind == 3 and count == 1 else struct.pack("<I", value)
        out += struct.pack("<HHI", tag, kind, count) + packed
    return out + struct.pack("<I", 0) + extra + data


def gif(width, height, data):
    """Two colours, 0 and 255. LZW without compression: a clear code before the table would need longer codes."""
    bits, out, codes = 3, bytearray(), []
    for i, value in enumerate(data):
        if i % 2 == 0:
            codes.append(4)
        codes.append(1 if value else 0)
    codes.append(5)
    hold = count = 0
    for code in codes:
        hold |= code << count
        count += bits
        while count >= 8:
            out.append(hold & 255)
            hold >>= 8
            count -= 8
    if count:
        out.append(hold & 255)
    blocks = b"".join(bytes((len(out[i:i + 255]),)) + bytes(out[i:i + 255]) for i in range(0, len(out), 255))
    palette = b"\0\0\0\xff\xff\xff\0\0\0\0\0\0"
    return (b"GIF89a" + struct.pack("<HHBBB", width, height, 0xf1, 0, 0) + palette
            + b"\x2c" + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\2" + blocks + b"\0\x3b")


def bmp(width, height, data):
    """24 bits, bottom row first, rows padded to four bytes."""
    row = (3 * width + 3) // 4 * 4
    body = b""
    for y in reversed(range(height)):
        line = bytearray(data[3 * width * y:3 * width * (y + 1)])
        line[0::3], line[2::3] = line[2::3], line[0::3]
        body += bytes(line) + b"\0" * (row - 3 * width)
    return (b"BM" + struct.pack("<IHHI", 54 + len(body), 0, 0, 54)
            + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(body), 2835, 2835, 0, 0) + body)
