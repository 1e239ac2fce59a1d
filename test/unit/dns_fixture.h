/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A name server over UDP on loopback, a thread of the test, that answers by a table; questions can be held back. The loop is the
 * test's own.
 */

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/dns/lookup.h"
#include "agent/enroll/pod.h"
#include "test/unit/compile_fixture.h"

#define NS_HELD_MAX 512
#define NS_RULES_MAX 8

/* Names that begin with `prefix`: their addresses of IPv4, or a response code. */
struct ns_rule {
	const char *prefix;
	const char *v4[4];
	uint32_t ttl;
	uint8_t rcode;
};

struct ns_question {
	uint8_t bytes[512];
	size_t len;
	struct sockaddr_in from;
};

struct ns {
	int fd;
	uint16_t port;
	pthread_t thread;
	pthread_mutex_t lock;
	struct ns_rule rule[NS_RULES_MAX]; /* under lock, like the rest */
	bool hold, stop;
	struct ns_question held[NS_HELD_MAX];
	size_t n_held;
	unsigned int asked, with_edns;
};

static inline const struct ns_rule *ns_rule_of(const struct ns *s, const char *name)
{
	for (size_t i = 0; i < NS_RULES_MAX && s->rule[i].prefix; i++) {
		if (!strncmp(name, s->rule[i].prefix, strlen(s->rule[i].prefix)))
			return &s->rule[i];
	}
	return NULL;
}

/* "a.test" of the question, and where it ends. */
static inline size_t ns_name(const struct ns_question *q, char name[256])
{
	size_t at = 12, n = 0;

	while (at < q->len && q->bytes[at]) {
		size_t len = q->bytes[at++];

		assert_true(at + len < q->len && n + len + 1 < 256);
		memcpy(name + n, q->bytes + at, len);
		n += len;
		name[n++] = '.';
		at += len;
	}
	name[n ? n - 1 : 0] = '\0';
	return at + 5;
}

static inline void ns_answer(struct ns *s, const struct ns_question *q)
{
	char name[256];
	size_t end = ns_name(q, name), n = end;
	const struct ns_rule *r = ns_rule_of(s, name);
	bool v4 = q->bytes[end - 3] == 1;
	uint8_t out[1024];

	memcpy(out, q->bytes, end);
	out[2] = 0x81;
	out[3] = (uint8_t)(0x80 | (r ? r->rcode : 3));
	memset(out + 4, 0, 8);
	out[5] = 1;
	for (size_t i = 0; r && v4 && i < 4 && r->v4[i]; i++) {
		const uint32_t ttl = htonl(r->ttl);
		const uint8_t head[] = {0xc0, 12, 0, 1, 0, 1};

		memcpy(out + n, head, sizeof(head));
		memcpy(out + n + 6, &ttl, 4);
		out[n + 10] = 0;
		out[n + 11] = 4;
		assert_int_equal(inet_pton(AF_INET, r->v4[i], out + n + 12), 1);
		n += 16;
		out[7]++;
	}
	sendto(s->fd, out, n, 0, (const struct sockaddr *)&q->from, sizeof(q->from));
}

static inline void *ns_thread(void *arg)
{
	struct ns *s = arg;

	for (bool stop = false; !stop;) {
		struct pollfd p = {.fd = s->fd, .events = POLLIN};
		struct ns_question q;
		socklen_t size = sizeof(q.from);
		ssize_t n = poll(&p, 1, 10) > 0 ? recvfrom(s->fd, q.bytes, sizeof(q.bytes), 0,
							   (struct sockaddr *)&q.from, &size)
						: -1;

		pthread_mutex_lock(&s->lock);
		stop = s->stop;
		if (n > 12) {
			q.len = (size_t)n;
			s->asked++;
			s->with_edns += q.bytes[11];
			if (!s->hold)
				ns_answer(s, &q);
			else if (s->n_held < NS_HELD_MAX)
				s->held[s->n_held++] = q;
		}
		pthread_mutex_unlock(&s->lock);
	}
	return NULL;
}

static inline void ns_start(struct ns *s)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(at);

	memset(s, 0, sizeof(*s));
	s->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(s->fd >= 0);
	assert_int_equal(bind(s->fd, (const struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(getsockname(s->fd, (struct sockaddr *)&at, &size), 0);
	s->port = ntohs(at.sin_port);
	pthread_mutex_init(&s->lock, NULL);
	assert_int_equal(pthread_create(&s->thread, NULL, ns_thread, s), 0);
}

static inline void ns_stop(struct ns *s)
{
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	close(s->fd);
	pthread_mutex_destroy(&s->lock);
}

static inline void ns_rule_set(struct ns *s, size_t i, struct ns_rule rule)
{
	pthread_mutex_lock(&s->lock);
	s->rule[i] = rule;
	pthread_mutex_unlock(&s->lock);
}

/* hold: questions wait from now on; else further ones do not, and those that do are answered by ns_release(). */
static inline void ns_hold(struct ns *s, bool hold)
{
	pthread_mutex_lock(&s->lock);
	s->hold = hold;
	pthread_mutex_unlock(&s->lock);
}

/* Answers a few of those that wait: no more than a socket's buffer takes. False: there was none. */
static inline bool ns_release(struct ns *s)
{
	size_t n;

	pthread_mutex_lock(&s->lock);
	n = s->n_held;
	for (size_t i = 0; i < 16 && s->n_held; i++)
		ns_answer(s, &s->held[--s->n_held]);
	pthread_mutex_unlock(&s->lock);
	return n;
}

static inline unsigned int ns_asked(struct ns *s)
{
	unsigned int n;

	pthread_mutex_lock(&s->lock);
	n = s->asked;
	pthread_mutex_unlock(&s->lock);
	return n;
}
