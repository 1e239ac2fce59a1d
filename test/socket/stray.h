/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

/*
 * Lets the peer of a connected IPv4 TCP socket receive bytes that this socket has not sent: one
 * segment through a raw socket, with the sequence number of what comes next. When the socket then
 * sends them itself, TCP of the peer gets a segment that begins with bytes it has already queued,
 * as after a retransmission. Asserts that it works.
 */
void stray_send(int fd, const void *bytes, size_t len);
