#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A DNS server that answers what a script says, over UDP and TCP.

The script maps a name to what becomes of a question for it:

    {"A": ["127.0.0.1"], "AAAA": ["::1"], "ttl": 7}   addresses; a missing type is an empty answer
    {"cname": "other.test", "cname_ttl": 3}          followed in the same answer
    {"rcode": "SERVFAIL"}                            also NXDOMAIN, REFUSED
    {"drop": true}                                   no answer at all; {"drop": N}: to the first N questions
    {"truncate": true}                               over UDP an empty answer with the truncation bit
    {"garbage": "hex"}                               these bytes after the question's id; {"delay_ms": N} before any answer

A name that is not there: NXDOMAIN. {"by_type": {"A": {...}, "AAAA": {...}}} says it for each type alone.
Run as a program it reads the script from a file whenever that changes, and appends a line per question to a log.
"""
import argparse
import json
import os
import socket
import struct
import threading
import time

TYPES = {1: "A", 28: "AAAA"}
RCODES = {"NOERROR": 0, "SERVFAIL": 2, "NXDOMAIN": 3, "REFUSED": 5}
CNAME_DEPTH = 8


def _name(text):
    return b"".join(bytes([len(p)]) + p.encode() for p in text.rstrip(".").split(".") if p) + b"\0"


def _record(name, kind, ttl, data):
    return _name(name) + struct.pack("!HHIH", kind, 1, ttl, len(data)) + data


def _question(msg):
    """(name, type number, end) of the one question of a message."""
    labels, at = [], 12
    while msg[at]:
        labels.append(msg[at + 1:at + 1 + msg[at]].decode("latin-1"))
        at += 1 + msg[at]
    return ".".join(labels).lower(), struct.unpack_from("!H", msg, at + 1)[0], at + 5


class Answers:
    """The script and the questions asked so far; used by several threads."""

    def __init__(self, script=None):
        self.script = script or {}
        self.asked = []
        self._dropped = {}
        self.lock = threading.Lock()

    def answer(self, msg, tcp):
        """The bytes to send, None for silence."""
        try:
            name, number, end = _question(msg)
        except (IndexError, struct.error):
            return None
        kind = TYPES.get(number, str(number))
        with self.lock:
            self.asked.append({"name": name, "type": kind, "tcp": tcp, "at": time.monotonic()})
            rule = self.script.get(name)
            rule = (rule or {}).get("by_type", {}).get(kind, rule)
            drops = (rule or {}).get("drop", 0)
            if drops is True:
                return None
            if self._dropped.get((name, kind), 0) < drops:
                self._dropped[name, kind] = self._dropped.get((name, kind), 0) + 1
                return None
        if rule and rule.get("delay_ms"):
            time.sleep(rule["delay_ms"] / 1000)
        return self._build(msg, end, name, kind, rule, tcp)

    def _build(self, msg, end, name, kind, rule, tcp):
        if rule is None:
            return self._head(msg, end, RCODES["NXDOMAIN"], 0, b"")
        if "garbage" in rule:
            return msg[:2] + bytes.fromhex(rule["garbage"])
        if rule.get("truncate") and not tcp:
            return self._head(msg, end, 0, 0, b"", truncated=True)
        if "rcode" in rule:
            return self._head(msg, end, RCODES[rule["rcode"]], 0, b"")
        n, records = 0, b""
        for _ in range(CNAME_DEPTH):
            if not rule or "cname" not in rule:
                break
            records += _record(name, 5, rule.get("cname_ttl", 60), _name(rule["cname"]))
            n, name, rule = n + 1, rule["cname"], self.script.get(rule["cname"])
        for address in (rule or {}).get(kind, []) if kind in ("A", "AAAA") else []:
            family = socket.AF_INET if kind == "A" else socket.AF_INET6
            records += _record(name, 1 if kind == "A" else 28, rule.get("ttl", 60), socket.inet_pton(family, address))
            n += 1
        return self._head(msg, end, 0, n, records)

    @staticmethod
    def _head(msg, end, rcode, n, records, truncated=False):
        flags = 0x8180 | rcode | (0x0200 if truncated else 0)
        return msg[:2] + struct.pack("!HHHHH", flags, 1, n, 0, 0) + msg[12:end] + records


class DnsServer:
    """Serves `answers` at host:port, both protocols, until close()."""

    def __init__(self, answers, host="127.0.0.1", port=0):
        self.answers = answers
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        for left in range(100, -1, -1):
            self._udp = socket.socket(family, socket.SOCK_DGRAM)
            self._udp.bind((host, port))
            self.port = self._udp.getsockname()[1]
            self._tcp = socket.socket(family)
            self._tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                self._tcp.bind((host, self.port))
                break
            except OSError:
                # A free port of UDP's may be taken in TCP's: another one, if any will do.
                self._udp.close()
                self._tcp.close()
                if port or not left:
                    raise
        self._tcp.listen(64)
        for serve in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=serve, daemon=True).start()

    def close(self):
        for s in (self._udp, self._tcp):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            s.close()

    def _serve_udp(self):
        while True:
            try:
                msg, peer = self._udp.recvfrom(65535)
            except OSError:
                return
            threading.Thread(target=self._reply, args=(msg, peer), daemon=True).start()

    def _reply(self, msg, peer):
        out = self.answers.answer(msg, False)
        if out is not None:
            try:
                self._udp.sendto(out, peer)
            except OSError:
                pass

    def _serve_tcp(self):
        while True:
            try:
                conn, _ = self._tcp.accept()
            except OSError:
                return
            threading.Thread(target=self._client, args=(conn,), daemon=True).start()

    def _client(self, conn):
        try:
            self._stream(conn)
        except OSError:  # it has gone
            pass

    def _stream(self, conn):
        with conn, conn.makefile("rb") as f:
            while True:
                head = f.read(2)
                if len(head) < 2:
                    return
                out = self.answers.answer(f.read(struct.unpack("!H", head)[0]), True)
                if out is not None:
                    conn.sendall(struct.pack("!H", len(out)) + out)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--host", default="127.0.0.1")
    p.add_argument("--port", type=int, required=True)
    p.add_argument("--script", required=True)
    p.add_argument("--log", required=True)
    args = p.parse_args()
    answers = Answers()
    server = DnsServer(answers, args.host, args.port)
    print(f"dns {server.port}", flush=True)
    seen, written = None, 0
    with open(args.log, "w", encoding="utf-8") as log:
        while True:
            st = os.stat(args.script)
            if (st.st_mtime_ns, st.st_ino) != seen:
                seen = (st.st_mtime_ns, st.st_ino)
                with open(args.script, encoding="utf-8") as f:
                    answers.script = json.load(f)
            for q in answers.asked[written:]:
                log.write(json.dumps(q) + "\n")
                written += 1
            log.flush()
            time.sleep(0.02)


if __name__ == "__main__":
    main()
