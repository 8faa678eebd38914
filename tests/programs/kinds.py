"""Writers of the kinds of PNG, PNM and TIFF that exist beside the plain ones of pictures.py, with nothing but Python's own
library. Samples are lists of rows, each a list of pixels' sample tuples."""
import random
import struct
import zlib


def samples(width, height, channels, most, seed=1):
    """Some noise, some flat parts, some ramps."""
    pick = random.Random(seed)
    return [[tuple(pick.randint(0, most) if x % 3 else (x * 7 + y * 5 + c * 11) % (most + 1) for c in range(channels))
             for x in range(width)] for y in range(height)]


def pack(row, bits):
    """Samples of a row as bytes, big-endian, rows padded to a byte."""
    if bits == 8:
        return bytes(v for pixel in row for v in pixel)
    if bits == 16:
        return b"".join(struct.pack(">H", v) for pixel in row for v in pixel)
    hold = count = 0
    for pixel in row:
        for v in pixel:
            hold = hold << bits | v
            count += bits
    padding = -count % 8
    return (hold << padding).to_bytes((count + padding) // 8, "big")


def filtered(lines, distance):
    """Each line by another of the five filters."""
    out, before = b"", bytes(len(lines[0])) if lines else b""
    for i, line in enumerate(lines):
        kind = i % 5
        made = bytearray()
        for x, v in enumerate(line):
            a = line[x - distance] if x >= distance else 0
            b = before[x]
            c = before[x - distance] if x >= distance else 0
            p = a + b - c
            pa, pb, pc = abs(p - a), abs(p - b), abs(p - c)
            paeth = a if pa <= pb and pa <= pc else b if pb <= pc else c
            made.append((v - (0, a, b, (a + b) // 2, paeth)[kind]) & 255)
        out += bytes((kind,)) + bytes(made)
        before = line
    return out


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def png(rows, bits, color, palette=None, transparency=None, interlaced=False, pieces=3, more=b""):
    """color: 0 gray, 2 RGB, 3 palette, 4 gray and alpha, 6 RGBA. The data come in several chunks."""
    width, height = len(rows[0]), len(rows)
    distance = max(1, len(rows[0][0]) * bits // 8)
    if interlaced:
        data = b""
        for x0, y0, dx, dy in ADAM7:
            part = [pack(row[x0::dx], bits) for row in rows[y0::dy] if row[x0::dx]]
            data += filtered(part, distance) if part else b""
    else:
        data = filtered([pack(row, bits) for row in rows], distance)
    packed = zlib.compress(data)
    cut = len(packed) // pieces + 1
    out = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0,
                                                              int(interlaced))) + more
    if palette:
        out += chunk(b"PLTE", bytes(v for entry in palette for v in entry))
    if transparency:
        out += chunk(b"tRNS", transparency)
    for at in range(0, len(packed), cut):
        out += chunk(b"IDAT", packed[at:at + cut])
    return out + chunk(b"IEND", b"")


def pnm(rows, most):
    kind = 5 if len(rows[0][0]) == 1 else 6
    body = b"".join(pack(row, 16 if most > 255 else 8) for row in rows)
    return b"P%d # one\n#two\n %d\t%d # three\n%d\n" % (kind, len(rows[0]), len(rows), most) + body


def packbits(line):
    """Runs of three and more, the rest as it is."""
    out, i, loose = b"", 0, b""

    def flush():
        text = b""
        for k in range(0, len(loose), 128):
            text += bytes((len(loose[k:k + 128]) - 1,)) + loose[k:k + 128]
        return text
    while i < len(line):
        n = 1
        while i + n < len(line) and n < 128 and line[i + n] == line[i]:
            n += 1
        if n > 2:
            out += flush() + bytes((257 - n, line[i]))
            loose = b""
        else:
            loose += line[i:i + n]
        i += n
    return out + flush()


def tiff(rows, bits, photometric=None, compression=1, strip=5, big=False, planar=1, extra=None, tile=None,
         orientation=None, palette=None):
    """photometric: 0 white is zero, 1 black is zero, 2 RGB, 3 palette; compression 1 none, 8 deflate, 32773 PackBits; tile: its
    side instead of strips; big: Motorola order."""
    order = ">" if big else "<"
    width, height, count = len(rows[0]), len(rows), len(rows[0][0])
    if photometric is None:
        photometric = 2 if count >= 3 else 1

    def packed(part):
        raw = pack(part, bits)
        if bits == 16 and not big:
            raw = b"".join(raw[k + 1:k + 2] + raw[k:k + 1] for k in range(0, len(raw), 2))
        return raw
    planes = [rows] if planar == 1 else [[[(v[c],) for v in row] for row in rows] for c in range(count)]
    blocks = []
    for plane in planes:
        if tile:
            zero = tuple(0 for _ in plane[0][0])
            for y in range(0, height, tile):
                for x in range(0, width, tile):
                    part = [(row[x:x + tile] + [zero] * tile)[:tile] for row in plane[y:y + tile]]
                    part += [[zero] * tile] * (tile - len(part))
                    blocks.append([packed(row) for row in part])
        else:
            blocks += [[packed(row) for row in plane[y:y + strip]] for y in range(0, height, strip)]
    if compression == 8:
        blocks = [zlib.compress(b"".join(block)) for block in blocks]
    elif compression == 32773:
        blocks = [b"".join(packbits(line) for line in block) for block in blocks]
    else:
        blocks = [b"".join(block) for block in blocks]
    data, offsets = b"", []
    for block in blocks:
        offsets.append(8 + len(data))
        data += block + b"\0" * (len(block) % 2)
    tags = {256: (4, [width]), 257: (4, [height]), 258: (3, [bits] * count), 259: (3, [compression]),
            262: (3, [photometric]), 277: (3, [count]), 284: (3, [planar])}
    if tile:
        tags.update({322: (4, [tile]), 323: (4, [tile]), 324: (4, offsets), 325: (4, [len(b) for b in blocks])})
    else:
        tags.update({273: (4, offsets), 278: (4, [strip]), 279: (4, [len(b) for b in blocks])})
    if extra is not None:
        tags[338] = (3, [extra])
    if orientation:
        tags[274] = (3, [orientation])
    if palette:
        tags[320] = (3, [entry[c] * 257 for c in range(3) for entry in palette])
    start = 8 + len(data)
    after = start + 2 + 12 * len(tags) + 4
    directory, tail = struct.pack(order + "H", len(tags)), b""
    for tag in sorted(tags):
        kind, values = tags[tag]
        body = struct.pack(order + ("H" if kind == 3 else "I") * len(values), *values)
        if len(body) > 4:
            value = struct.pack(order + "I", after + len(tail))
            tail += body + b"\0" * (len(body) % 2)
        else:
            value = body + b"\0" * (4 - len(body))
        directory += struct.pack(order + "HHI", tag, kind, len(values)) + value
    return (b"MM\0*" if big else b"II*\0") + struct.pack(order + "I", start) + data + directory + b"\0\0\0\0" + tail
