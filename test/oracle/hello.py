# SPDX-License-Identifier: Apache-2.0
"""TLS ClientHellos byte by byte, the same each time; malformed where a case says so."""


def _vector(width, data):
    return len(data).to_bytes(width, "big") + data


def _extension(kind, data):
    return kind.to_bytes(2, "big") + _vector(2, data)


def record(data, kind=22):
    return bytes([kind, 3, 1]) + _vector(2, data)


def make(say):
    """name: server name, behind fill times "a"; alpn: protocols; version: legacy_version (0x0303); extensions: {number: hex} more of them, as they stand; records: the message in
    records of so many bytes; bare: no field for extensions; tail: hex behind it, in the same record."""
    extensions = b""
    if "name" in say:
        extensions += _extension(0, _vector(2, b"\0" + _vector(2, b"a" * say.get("fill", 0) + say["name"].encode("latin-1"))))
    if "alpn" in say:
        extensions += _extension(16, _vector(2, b"".join(_vector(1, p.encode()) for p in say["alpn"])))
    for kind, data in say.get("extensions", {}).items():
        extensions += _extension(int(kind), bytes.fromhex(data))
    body = say.get("version", 0x0303).to_bytes(2, "big") + b"R" * 32 + _vector(1, b"") + _vector(2, b"\xc0\x2f") + _vector(1, b"\0")
    if not say.get("bare"):
        body += _vector(2, extensions)
    message = b"\1" + _vector(3, body) + bytes.fromhex(say.get("tail", ""))
    size = say.get("records", len(message))
    return b"".join(record(message[i:i + size]) for i in range(0, len(message), size))
