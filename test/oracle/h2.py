# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 frames as a case writes them, and what comes back. Headers go out as plain literals, so that malformed ones stay
malformed; those that come are decoded by libnghttp2 (curl brings it)."""
import ctypes
import struct
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIO = 1, 1, 4, 8, 32
CODES = ["NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
         "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
         "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED"]
FRAME_MAX = 16384
CLOSE_S = 1.5


class _Nv(ctypes.Structure):
    _fields_ = [("name", ctypes.POINTER(ctypes.c_uint8)), ("value", ctypes.POINTER(ctypes.c_uint8)),
                ("namelen", ctypes.c_size_t), ("valuelen", ctypes.c_size_t), ("flags", ctypes.c_uint8)]


class Inflater:
    def __init__(self):
        self.lib = ctypes.CDLL("libnghttp2.so.14")
        self.lib.nghttp2_hd_inflate_hd2.restype = ctypes.c_ssize_t
        self.lib.nghttp2_hd_inflate_hd2.argtypes = [ctypes.c_void_p, ctypes.POINTER(_Nv), ctypes.POINTER(ctypes.c_int),
                                                    ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int]
        self.lib.nghttp2_hd_inflate_end_headers.argtypes = [ctypes.c_void_p]
        self.of = ctypes.c_void_p()
        if self.lib.nghttp2_hd_inflate_new(ctypes.byref(self.of)):
            raise MemoryError("nghttp2_hd_inflate_new")

    def headers(self, block):
        out, nv, flags = [], _Nv(), ctypes.c_int()
        while True:
            n = self.lib.nghttp2_hd_inflate_hd2(self.of, ctypes.byref(nv), ctypes.byref(flags), block, len(block), 1)
            if n < 0:
                raise ValueError(f"header block: {n}")
            block = block[n:]
            if flags.value & 2:
                out.append([ctypes.string_at(nv.name, nv.namelen).decode("latin-1"),
                            ctypes.string_at(nv.value, nv.valuelen).decode("latin-1")])
            if flags.value & 1:
                self.lib.nghttp2_hd_inflate_end_headers(self.of)
                return out
            if not block and not flags.value & 2:
                raise ValueError("header block ends early")


def _int(n, prefix):
    top = (1 << prefix) - 1
    if n < top:
        return bytes([n])
    out, n = bytes([top]), n - top
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def literal(headers):
    """Never indexed, no Huffman."""
    out = b""
    for k, v in headers:
        k, v = k.encode("latin-1"), v.encode("latin-1")
        out += b"\0" + _int(len(k), 7) + k + _int(len(v), 7) + v
    return out


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _headers_frames(f, text, stream):
    list_ = []
    for h in f["headers"]:
        if isinstance(h, dict):
            list_ += [[h["repeat"][0].replace("%d", str(i)), h["repeat"][1]] for i in range(h["times"])]
        else:
            value = h[1]["fill"] * h[1]["times"] if isinstance(h[1], dict) else str(h[1])
            list_.append([h[0], text(value)])
    block = literal(list_)
    most = f.get("part", FRAME_MAX)
    parts = [block[i:i + most] for i in range(0, len(block), most)] or [b""]
    out = b""
    for i, p in enumerate(parts):
        flags = (END_STREAM if f.get("end") and not i else 0) | (END_HEADERS if i == len(parts) - 1 and not f.get("open") else 0)
        out += frame(CONTINUATION if i else HEADERS, flags, stream, p)
    return out


def frames_bytes(frames, text):
    """The bytes of a list of frames; each without `stream` belongs to stream 1."""
    out = b""
    for f in frames:
        for n in range(f.get("times", 1)):
            s = f.get("stream", 1) + 2 * n
            if "headers" in f:
                out += _headers_frames(f, text, s)
            if "data" in f:
                body = text(str(f["data"])).encode("latin-1") * f.get("fill", 1)
                parts = [body[i:i + FRAME_MAX] for i in range(0, len(body), FRAME_MAX)] or [b""]
                for i, p in enumerate(parts):
                    out += frame(DATA, END_STREAM if f.get("end") and i == len(parts) - 1 else 0, s, p)
            if "rst" in f:
                out += frame(RST, 0, s, struct.pack(">I", f["rst"]))
            if "window" in f:
                out += frame(WINDOW, 0, f.get("stream", 0), struct.pack(">I", f["window"]))
            if "ping" in f:
                out += frame(PING, 0, 0, f["ping"].encode("latin-1"))
            if "bytes" in f:
                out += bytes.fromhex(f["bytes"])
    return out


class Answers:
    """What came: streams by number, and what was said of the connection."""

    def __init__(self):
        self.streams, self.goaway, self.pings, self.inflater, self.error = {}, None, 0, Inflater(), None
        self.block = b""

    def _stream(self, n):
        return self.streams.setdefault(n, {"headers": [], "body": b"", "ended": False})

    def take(self, buf):
        """Consumes whole frames: the rest."""
        while len(buf) >= 9:
            n = int.from_bytes(buf[:3], "big")
            if len(buf) < 9 + n:
                break
            self._frame(buf[3], buf[4], int.from_bytes(buf[5:9], "big") & 0x7fffffff, buf[9:9 + n])
            buf = buf[9 + n:]
        return buf

    def _frame(self, kind, flags, stream, p):
        if kind in (HEADERS, CONTINUATION):
            self.block += p
            if kind == HEADERS and flags & END_STREAM:
                self._stream(stream)["ended"] = True
            if flags & END_HEADERS:
                self._stream(stream)["headers"].append(self.inflater.headers(self.block))
                self.block = b""
        elif kind == DATA:
            self._stream(stream)["body"] += p
            self._stream(stream)["ended"] |= bool(flags & END_STREAM)
        elif kind == RST:
            self._stream(stream)["reset"] = _code(p)
        elif kind == GOAWAY:
            self.goaway = _code(p[4:8])
        elif kind == PING and flags & ACK:
            self.pings += 1

    def over(self, want):
        """Are `want` streams through?"""
        return sum(1 for s in self.streams.values() if s["ended"] or "reset" in s) >= want


def _code(p):
    n = int.from_bytes(p, "big")
    return CODES[n] if n < len(CODES) else str(n)


def talk(conn, req, text, waits, arrived):
    """Sends req["h2"] on the connection and takes the answers. waits: seconds for an answer, for more than asked for, and until
    arrived(answers) is to be true."""
    a = Answers()
    idle_s, settle_s, limit_s = waits
    magic = b"" if req.get("preface") is False else PREFACE + frame(SETTINGS, 0, 0)
    conn.send(magic + frames_bytes(req["h2"], text), req.get("split", 0), req.get("gap_ms", 0) / 1000)
    for late in req.get("then", []):
        end = time.monotonic() + late.get("after_ms", 100) / 1000
        while time.monotonic() < end and conn._more(end - time.monotonic()):
            conn.buf = a.take(conn.buf)
        conn.send(frames_bytes([late], text))
    end = time.monotonic() + req.get("limit_ms", idle_s * 1000) / 1000
    while not a.over(req.get("streams", 1)) and time.monotonic() < end and not conn.eof:
        conn._more(end - time.monotonic())
        conn.buf = a.take(conn.buf)
    # Envoy lets a second pass before it closes what it gave up
    end = time.monotonic() + (settle_s if a.over(req.get("streams", 1)) and not a.goaway and not req.get("closes") else CLOSE_S)
    while time.monotonic() < end and not conn.eof:
        conn._more(end - time.monotonic())
        conn.buf = a.take(conn.buf)
    end = time.monotonic() + limit_s
    while not arrived(a) and time.monotonic() < end and not conn.eof:
        conn._more(end - time.monotonic())
        conn.buf = a.take(conn.buf)
    arrived(a)
