// SPDX-License-Identifier: Apache-2.0
#include "stray.h"

#include <assert.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define STRAY_MAX 16384
#define REPAIR_OFF_NO_PROBE (-1)

struct stray {
	struct iphdr ip;
	struct tcphdr tcp;
	uint8_t bytes[STRAY_MAX];
};

/* Next sequence number of one direction; of a socket under TCP_REPAIR. */
static uint32_t queue_seq(int fd, int queue)
{
	uint32_t seq;
	socklen_t len = sizeof(seq);

	assert(!setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, &queue, sizeof(queue)));
	assert(!getsockopt(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, &seq, &len));
	return seq;
}

static void seqs_of(int fd, uint32_t *ret_seq, uint32_t *ret_ack)
{
	int on = 1, off = REPAIR_OFF_NO_PROBE;

	assert(!setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)));
	*ret_seq = queue_seq(fd, TCP_SEND_QUEUE);
	*ret_ack = queue_seq(fd, TCP_RECV_QUEUE);
	assert(!setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &off, sizeof(off)));
}

static uint32_t sum_add(uint32_t sum, const void *bytes, size_t len)
{
	const uint8_t *b = bytes;

	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? b[i] : (uint32_t)b[i] << 8;
	return sum;
}

/* RFC 9293 3.1, with the pseudo header. */
static uint16_t tcp_sum(const struct stray *s, size_t len)
{
	uint32_t sum = IPPROTO_TCP + (uint32_t)len;

	sum = sum_add(sum, &s->ip.saddr, 8);
	sum = sum_add(sum, &s->tcp, len);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

void stray_send(int fd, const void *bytes, size_t len)
{
	int raw = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	struct sockaddr_in own, peer;
	socklen_t own_len = sizeof(own), peer_len = sizeof(peer);
	size_t tcp_len = sizeof(struct tcphdr) + len;
	struct stray s = {0};
	uint32_t seq, ack;

	assert(raw >= 0 && len <= STRAY_MAX);
	assert(!getsockname(fd, (struct sockaddr *)&own, &own_len) && own.sin_family == AF_INET);
	assert(!getpeername(fd, (struct sockaddr *)&peer, &peer_len));
	seqs_of(fd, &seq, &ack);
	s.ip.version = 4;
	s.ip.ihl = sizeof(s.ip) / 4;
	s.ip.ttl = 64;
	s.ip.protocol = IPPROTO_TCP;
	s.ip.saddr = own.sin_addr.s_addr;
	s.ip.daddr = peer.sin_addr.s_addr;
	s.tcp.source = own.sin_port;
	s.tcp.dest = peer.sin_port;
	s.tcp.seq = htonl(seq);
	s.tcp.ack_seq = htonl(ack);
	s.tcp.doff = sizeof(s.tcp) / 4;
	s.tcp.ack = 1;
	s.tcp.psh = 1;
	s.tcp.window = htons(512);
	memcpy(s.bytes, bytes, len);
	s.tcp.check = tcp_sum(&s, tcp_len);
	assert(sendto(raw, &s, sizeof(s.ip) + tcp_len, 0, (struct sockaddr *)&peer, sizeof(peer)) ==
	       (ssize_t)(sizeof(s.ip) + tcp_len));
	close(raw);
}
