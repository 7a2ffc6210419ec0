"""What makes other files of valid ones: bits, parts, nodes of JSON, headers of arrays."""

import gzip
import io
import json
import random
import zipfile
from collections.abc import Iterator
from typing import Any

STRANGE: tuple[Any, ...] = (
    *(None, [], {}, "", 0, 1, -1, 2, 1.5, -0.0, 1e308, -1e308, 5e-324, True, False, 2**31, 2**63, -(2**63), 10**30),
    *(
        "../../x",
        "/etc/x",
        "\x1b[2J",
        "a|b",
        "<b>",
        "$\\frac$",
        "\u202e",
        "\x00",
        "x" * 500,
        "1",
        "nan",
        [[]],
        [0],
        ["a", "b"],
    ),
    *([1, 0], {"": {}}, {"a": 1}, [None], "NaN-here", "Infinity-here", "1e999-here"),
)


def of_bytes(content: bytes, others: list[bytes], draw: random.Random) -> bytes:
    """Flips, cuts, doubles, fills and splices."""
    made = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 4, 16))):
        place, length = draw.randrange(len(made) + 1), draw.choice((1, 2, 4, 8, 64, 1024))
        kind = draw.randrange(8)
        if kind == 0 and place < len(made):
            made[place] ^= 1 << draw.randrange(8)
        elif kind == 1 and place < len(made):
            made[place] = draw.choice((0, 1, 127, 128, 255, draw.randrange(256)))
        elif kind == 2:
            del made[place : None if draw.random() < 0.3 else place + length]
        elif kind == 3:
            made[place:place] = made[place : place + length]
        elif kind == 4:
            made[place : place + 4] = draw.choice((b"\xff" * 4, b"\x00" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"))
        elif kind == 5:
            other = draw.choice(others)
            start = draw.randrange(len(other) + 1)
            made[place : place + length] = other[start : start + length]
        elif kind == 6:
            made[place:place] = draw.randbytes(length)
        else:
            made[place : place + length] = b"\x00" * length
    return bytes(made)


def of_json(content: bytes, others: list[bytes], draw: random.Random) -> bytes:
    """Replaces, removes, doubles and exchanges nodes; sometimes mutates the text."""
    if draw.random() < 0.15:
        return of_bytes(content, others, draw)
    holder = [json.loads(content)]
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        nodes = list(places(holder))
        inside, key = draw.choice(nodes)
        kind = draw.randrange(10)
        if kind == 0 and inside is not holder:
            del inside[key]
        elif kind == 1:
            other, place = draw.choice(nodes)
            inside[key] = (
                json.loads(json.dumps(other[place]))
                if place in (other if isinstance(other, dict) else range(len(other)))
                else None
            )
        elif kind == 2 and isinstance(inside, list) and inside is not holder:
            inside.append(inside[key])
        elif kind == 3 and isinstance(inside, dict):
            inside[str(draw.choice(STRANGE))] = inside[key]
        else:
            inside[key] = json.loads(json.dumps(draw.choice(STRANGE)))
    text = json.dumps(holder[0])
    for name in ("NaN", "Infinity", "1e999"):
        text = text.replace(f'"{name}-here"', name)
    return text.encode()


def places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every node below one, as what holds it and its key there."""
    for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
        yield node, key
        if isinstance(value, (dict, list)):
            yield from places(value)


def of_npz(content: bytes, others: list[bytes], draw: random.Random) -> bytes:
    """Mutates the archive, or an array of it before it is packed again."""
    if draw.random() < 0.4:
        return of_bytes(content, others, draw)
    made = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as archive,
        zipfile.ZipFile(made, "w", draw.choice((0, 8)), compresslevel=1) as again,
    ):
        names = archive.namelist()
        chosen = draw.choice(names)
        for name in names:
            array = archive.read(name)
            again.writestr(name, of_npy(array, [archive.read(draw.choice(names))], draw) if name == chosen else array)
    return made.getvalue()


def of_npy(content: bytes, others: list[bytes], draw: random.Random) -> bytes:
    """Mutates an array's bytes, or what its header says."""
    if draw.random() < 0.5:
        return of_bytes(content, others, draw)
    said = draw.choice(
        ("<f4", "|O", "<U9", "|b1", ">i8", "<c16", "|V8", "<m8[s]", "<f2", "|S0", "<U0", "[('a','<f4')]")
    )
    shape = tuple(draw.choice((0, 1, 2, 3, 12, 10**9, 10**15, -1)) for _ in range(draw.randrange(6)))
    head = f"{{'descr': '{said}', 'fortran_order': {draw.choice((True, False))}, 'shape': {shape}, }}"
    if draw.random() < 0.3:
        head = of_bytes(head.encode(), [content], draw).decode("latin1")
    padded = head.encode("latin1") + b" " * (-(len(head) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + (len(padded) % 65536).to_bytes(2, "little") + padded + content[128:]


def of_archive(content: bytes, others: list[bytes], draw: random.Random) -> bytes:
    """Mutates what is compressed."""
    if draw.random() < 0.3:
        return of_bytes(content, others, draw)
    return gzip.compress(of_bytes(gzip.decompress(content), [content], draw), 1, mtime=0)
