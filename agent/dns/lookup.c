// SPDX-License-Identifier: Apache-2.0
#include "agent/dns/lookup.h"

#include <ares.h>
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "agent/enroll/pod.h"

struct weft_lookup {
	struct weft_channel *channel;
	char *name;
	enum weft_dns_family family;
	weft_lookup_fn fn; /* NULL: cancelled */
	void *ctx;
	unsigned int under_way; /* questions that c-ares has not answered */
	bool second;		/* the other family is asked */
	bool starting;		/* inside weft_lookup_start(), which frees it */
	bool finished;
	const char *error; /* of one family */
	struct weft_addr *addr;
	size_t n;
	uint32_t ttl;
	struct weft_lookup *next; /* in the queue */
};

/* One of c-ares' sockets. */
struct watch {
	struct weft_channel *channel;
	int fd;
	struct watch *next;
};

struct weft_channel {
	struct weft_loop *loop;
	struct weft_dns_servers conf;
	ares_channel ares;
	int timer_fd;
	struct watch *watches;
	unsigned int active; /* lookups that c-ares knows */
	unsigned int inside; /* calls of c-ares on the stack */
	bool stale; /* servers refused or were silent: /etc/resolv.conf may name others by now */
	bool closing;
	struct weft_lookup *queue, **queue_end;
};

/* ---- c-ares in the loop ---- */

static void timer_renew(struct weft_channel *c)
{
	struct timeval tv, *left = ares_timeout(c->ares, NULL, &tv);
	int64_t ms = left ? (int64_t)left->tv_sec * 1000 + left->tv_usec / 1000 + 1 : 0;

	weft_timer_set(c->timer_fd, ms > INT32_MAX ? INT32_MAX : (uint32_t)ms, 0);
}

static void process(struct weft_channel *c, ares_socket_t in, ares_socket_t out)
{
	c->inside++;
	ares_process_fd(c->ares, in, out);
	c->inside--;
	timer_renew(c);
}

static void on_timer(void *ctx, uint32_t events)
{
	struct weft_channel *c = ctx;

	(void)events;
	weft_timer_ack(c->timer_fd);
	if (c->ares) /* NULL: the system's servers could not be read anew */
		process(c, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

static void on_socket(void *ctx, uint32_t events)
{
	const struct watch *w = ctx; /* gone when c-ares closes the socket */
	int fd = w->fd;

	process(w->channel, events & ~(uint32_t)EPOLLOUT ? fd : ARES_SOCKET_BAD,
		events & EPOLLOUT ? fd : ARES_SOCKET_BAD);
}

static void on_state(void *ctx, ares_socket_t fd, int in, int out)
{
	struct weft_channel *c = ctx;
	uint32_t events = (in ? (uint32_t)EPOLLIN : 0) | (out ? (uint32_t)EPOLLOUT : 0);
	struct watch **at = &c->watches, *w;

	while (*at && (*at)->fd != fd)
		at = &(*at)->next;
	w = *at;
	if (!events) {
		weft_loop_remove(c->loop, fd);
		if (w)
			*at = w->next;
		free(w);
	} else if (w) {
		weft_loop_change(c->loop, fd, events);
	} else {
		/* Without memory the socket is silent, and the question is asked again after its time. */
		w = calloc(1, sizeof(*w));
		if (!w)
			return;
		*w = (struct watch){.channel = c, .fd = fd, .next = c->watches};
		if (weft_loop_add(c->loop, fd, events, on_socket, w) < 0) {
			free(w);
			return;
		}
		c->watches = w;
	}
}

/* True when /etc/resolv.conf named none: c-ares then asks this host. */
static bool system_has_none(ares_channel ares)
{
	struct ares_addr_port_node *servers = NULL;
	bool none;

	if (ares_get_servers_ports(ares, &servers) != ARES_SUCCESS)
		return true;
	none = !servers || (!servers->next && servers->family == AF_INET &&
			    servers->addr.addr4.s_addr == htonl(INADDR_LOOPBACK) &&
			    !servers->udp_port && !servers->tcp_port);
	ares_free_data(servers);
	return none;
}

/* Servers of the system are read anew each time. */
static int channel_open(struct weft_channel *c)
{
	struct ares_options o = {
		.timeout = (int)c->conf.timeout_ms,
		.tries = (int)c->conf.tries,
		.flags = (c->conf.tcp ? ARES_FLAG_USEVC : 0) |
			 (c->conf.no_search ? ARES_FLAG_NOSEARCH : 0) |
			 (c->conf.edns_size ? ARES_FLAG_EDNS : 0),
		.ednspsz = (int)c->conf.edns_size,
		.sock_state_cb = on_state,
		.sock_state_cb_data = c,
	};
	int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_FLAGS | ARES_OPT_SOCK_STATE_CB |
		   (c->conf.rotate ? ARES_OPT_ROTATE : ARES_OPT_NOROTATE) |
		   (c->conf.edns_size ? ARES_OPT_EDNSPSZ : 0);
	int r = ares_init_options(&c->ares, &o, mask);

	if (r != ARES_SUCCESS) {
		c->ares = NULL;
		return r == ARES_ENOMEM ? -ENOMEM : -EINVAL;
	}
	c->stale = false;
	if (!c->conf.list || (c->conf.fallback && !system_has_none(c->ares)))
		return 0;
	r = ares_set_servers_ports_csv(c->ares, c->conf.list);
	if (r != ARES_SUCCESS) {
		ares_destroy(c->ares);
		c->ares = NULL;
		return r == ARES_ENOMEM ? -ENOMEM : -EINVAL;
	}
	return 0;
}

int weft_channel_new(struct weft_loop *loop, const struct weft_dns_servers *conf,
		     struct weft_channel **ret)
{
	struct weft_channel *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->loop = loop;
	c->conf = *conf;
	c->timer_fd = -1;
	c->queue_end = &c->queue;
	c->conf.list = conf->list ? strdup(conf->list) : NULL;
	r = conf->list && !c->conf.list ? -ENOMEM : 0;
	if (r == 0 && ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS)
		r = -ENOMEM;
	if (r == 0)
		r = weft_timer_new(&c->timer_fd);
	if (r == 0)
		r = weft_loop_add(loop, c->timer_fd, EPOLLIN, on_timer, c);
	if (r == 0)
		r = channel_open(c);
	if (r < 0) {
		weft_channel_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

static void lookup_free(struct weft_lookup *l)
{
	free(l->name);
	free(l->addr);
	free(l);
}

void weft_channel_free(struct weft_channel *c)
{
	struct weft_lookup *l, *next;

	if (!c)
		return;
	c->closing = true;
	for (l = c->queue; l; l = next) {
		next = l->next;
		lookup_free(l);
	}
	if (c->ares)
		ares_destroy(c->ares);
	if (c->timer_fd >= 0) {
		weft_loop_remove(c->loop, c->timer_fd);
		close(c->timer_fd);
	}
	free(c->conf.list);
	free(c);
}

bool weft_channel_fits(const struct weft_channel *c, const struct weft_dns_servers *conf)
{
	const struct weft_dns_servers *a = &c->conf;

	if (!a->list != !conf->list || (a->list && strcmp(a->list, conf->list) != 0))
		return false;
	return a->fallback == conf->fallback && a->tcp == conf->tcp &&
	       a->no_search == conf->no_search && a->rotate == conf->rotate &&
	       a->timeout_ms == conf->timeout_ms && a->tries == conf->tries &&
	       a->edns_size == conf->edns_size;
}

/* ---- one name ---- */

static void ask(struct weft_lookup *l, int family);

static void address_add(struct weft_lookup *l, const struct weft_addr *addr)
{
	struct weft_addr *more;

	for (size_t i = 0; i < l->n; i++) {
		if (!memcmp(&l->addr[i], addr, sizeof(*addr)))
			return;
	}
	more = reallocarray(l->addr, l->n + 1, sizeof(*more));
	if (!more) {
		l->error = ares_strerror(ARES_ENOMEM);
		return;
	}
	l->addr = more;
	l->addr[l->n++] = *addr;
}

static uint32_t ttl_least(const struct weft_lookup *l, int ttl)
{
	uint32_t t = ttl > 0 ? (uint32_t)ttl : 0;

	return l->n && l->ttl < t ? l->ttl : t;
}

/* An alias that lives shorter than its addresses ends their life too. */
static void addresses_take(struct weft_lookup *l, const struct ares_addrinfo *ai)
{
	for (const struct ares_addrinfo_node *n = ai->nodes; n; n = n->ai_next) {
		struct weft_addr addr = {0};

		if (n->ai_family == AF_INET) {
			addr.w[2] = htonl(0xffff);
			addr.w[3] = ((const struct sockaddr_in *)(const void *)n->ai_addr)
					    ->sin_addr.s_addr;
		} else if (n->ai_family == AF_INET6) {
			memcpy(&addr,
			       &((const struct sockaddr_in6 *)(const void *)n->ai_addr)->sin6_addr,
			       sizeof(addr));
		} else {
			continue;
		}
		l->ttl = ttl_least(l, n->ai_ttl);
		address_add(l, &addr);
	}
	for (const struct ares_addrinfo_cname *a = ai->cnames; a && l->n; a = a->next)
		l->ttl = ttl_least(l, a->ttl);
}

static void queue_run(struct weft_channel *c);

/* Of both families, asked for at once: IPv4 first, whichever came first. */
static void families_order(struct weft_lookup *l)
{
	struct weft_addr *v = l->n ? calloc(l->n, sizeof(*v)) : NULL;
	size_t n = 0;

	for (int six = 0; v && six < 2; six++) {
		for (size_t i = 0; i < l->n; i++) {
			if (weft_addr_is_v4(&l->addr[i]) == !six)
				v[n++] = l->addr[i];
		}
	}
	if (v)
		memcpy(l->addr, v, l->n * sizeof(*v));
	free(v);
}

static void finish(struct weft_lookup *l)
{
	struct weft_channel *c = l->channel;
	const struct weft_answer answer = {
		.error = l->n ? NULL : l->error,
		.addr = l->addr,
		.n = l->n,
		.ttl = l->ttl,
	};

	c->active--;
	if (l->family == WEFT_DNS_ALL)
		families_order(l);
	if (l->fn && !c->closing)
		l->fn(l->ctx, &answer);
	l->finished = true;
	if (!l->starting)
		lookup_free(l);
	if (!c->closing)
		queue_run(c);
}

/* The family to ask when the first one gave no address; AF_UNSPEC: none. */
static int family_after(enum weft_dns_family family)
{
	return family == WEFT_DNS_AUTO		? AF_INET
	       : family == WEFT_DNS_V4_PREFERRED ? AF_INET6
						 : AF_UNSPEC;
}

static void on_result(void *ctx, int status, int timeouts, struct ares_addrinfo *ai)
{
	struct weft_lookup *l = ctx;
	int other = family_after(l->family);

	(void)timeouts;
	/* A name that does not exist is an answer: Envoy then has no hosts for it. */
	if (status != ARES_SUCCESS && status != ARES_ENODATA && status != ARES_ENOTFOUND)
		l->error = ares_strerror(status);
	if (status == ARES_ECONNREFUSED || status == ARES_ETIMEOUT)
		l->channel->stale = true;
	if (ai) {
		addresses_take(l, ai);
		ares_freeaddrinfo(ai);
	}
	if (--l->under_way)
		return;
	if (!l->n && other != AF_UNSPEC && !l->second && !l->channel->closing && l->fn) {
		l->second = true;
		l->under_way = 1;
		ask(l, other);
		return;
	}
	finish(l);
}

static void ask(struct weft_lookup *l, int family)
{
	const struct ares_addrinfo_hints hints = {.ai_family = family, .ai_flags = ARES_AI_NOSORT};
	struct weft_channel *c = l->channel;

	c->inside++;
	ares_getaddrinfo(c->ares, l->name, NULL, &hints, on_result, l);
	c->inside--;
}

static void begin(struct weft_lookup *l)
{
	struct weft_channel *c = l->channel;
	enum weft_dns_family family = l->family;

	c->active++;
	l->under_way = family == WEFT_DNS_ALL ? 2 : 1;
	if (family == WEFT_DNS_V4_ONLY || family == WEFT_DNS_V4_PREFERRED ||
	    family == WEFT_DNS_ALL)
		ask(l, AF_INET); /* may be the end of l */
	if (family != WEFT_DNS_V4_ONLY && family != WEFT_DNS_V4_PREFERRED)
		ask(l, AF_INET6);
}

/* Also called within itself, by lookups that end at once: then the outer one goes on. */
static void queue_run(struct weft_channel *c)
{
	struct weft_lookup *l = c->queue;

	if (!l || c->active >= WEFT_LOOKUPS_MAX)
		return;
	c->queue = l->next;
	if (!c->queue)
		c->queue_end = &c->queue;
	l->next = NULL;
	begin(l);
	if (!c->inside)
		timer_renew(c);
}

/*
 * Loopback, as RFC 6761 6.3 and Envoy have it, names below too. c-ares 1.18 asks a server for those, and loses some bytes each
 * time it is asked for the ::1 of localhost.
 */
static bool is_localhost(const char *name)
{
	static const char top[] = ".localhost";
	size_t len = strlen(name), n = sizeof(top) - 1;

	return !strcasecmp(name, top + 1) || (len > n && !strcasecmp(name + len - n, top));
}

static size_t localhost_of(enum weft_dns_family family, struct weft_addr ret[2])
{
	const struct weft_addr v4 = {.w = {0, 0, htonl(0xffff), htonl(INADDR_LOOPBACK)}};
	const struct weft_addr v6 = {.w = {0, 0, 0, htonl(1)}};

	ret[0] = family == WEFT_DNS_AUTO || family == WEFT_DNS_V6_ONLY ? v6 : v4;
	ret[1] = v6;
	return family == WEFT_DNS_ALL ? 2 : 1;
}

/* Four decimal numbers, leading zeros and all: c-ares' inet_pton takes what libc's does not. */
static bool is_quad(const char *name, struct weft_addr *ret)
{
	uint32_t addr = 0;

	for (int i = 0; i < 4; i++) {
		unsigned int part = 0;

		if (!isdigit((unsigned char)*name))
			return false;
		for (; isdigit((unsigned char)*name); name++) {
			part = part * 10 + (unsigned int)(*name - '0');
			if (part > 255)
				return false;
		}
		addr = addr << 8 | part;
		if (i < 3 && *name++ != '.')
			return false;
	}
	*ret = (struct weft_addr){.w = {0, 0, htonl(0xffff), htonl(addr)}};
	return !*name;
}

/* Addresses of a name that nobody is asked for, 0: it is none. An IPv6 literal is none where only IPv4 is wanted. */
static size_t known_of(const char *name, enum weft_dns_family family, struct weft_addr ret[2])
{
	if (is_localhost(name))
		return localhost_of(family, ret);
	return is_quad(name, ret) ||
	       (family != WEFT_DNS_V4_ONLY && strchr(name, ':') && !weft_addr_parse(name, ret));
}

/* The characters that Envoy's c-ares asks for; 1.18 would ask for any. */
static bool is_host_name(const char *name)
{
	for (; *name; name++) {
		if (!isalnum((unsigned char)*name) && !strchr("-._/*", *name))
			return false;
	}
	return true;
}

/* Not while c-ares is on the stack, nor with questions open: those would fail. */
static int channel_renew(struct weft_channel *c)
{
	if (c->ares && (!c->stale || c->active || c->inside))
		return 0;
	if (c->ares)
		ares_destroy(c->ares);
	return channel_open(c);
}

int weft_lookup_start(struct weft_channel *c, const char *name, enum weft_dns_family family,
		      weft_lookup_fn fn, void *ctx, struct weft_lookup **ret)
{
	struct weft_addr known[2];
	size_t n = known_of(name, family, known);
	struct weft_lookup *l;
	int r;

	*ret = NULL;
	if (n) {
		fn(ctx, &(struct weft_answer){.addr = known, .n = n});
		return 0;
	}
	if (!is_host_name(name)) {
		fn(ctx, &(struct weft_answer){.error = ares_strerror(ARES_EBADNAME)});
		return 0;
	}
	r = channel_renew(c);
	l = r == 0 ? calloc(1, sizeof(*l)) : NULL;
	if (l)
		l->name = strdup(name);
	if (!l || !l->name) {
		free(l);
		return r < 0 ? r : -ENOMEM;
	}
	l->channel = c;
	l->family = family;
	l->fn = fn;
	l->ctx = ctx;
	if (c->active >= WEFT_LOOKUPS_MAX) {
		*c->queue_end = l;
		c->queue_end = &l->next;
		*ret = l;
		return 0;
	}
	l->starting = true;
	begin(l);
	l->starting = false;
	if (l->finished)
		lookup_free(l);
	else
		*ret = l;
	timer_renew(c);
	return 0;
}

void weft_lookup_cancel(struct weft_lookup *l)
{
	struct weft_lookup **at;

	if (!l)
		return;
	l->fn = NULL;
	for (at = &l->channel->queue; *at && *at != l; at = &(*at)->next)
		;
	if (!*at)
		return; /* c-ares knows it: freed with its answer */
	*at = l->next;
	if (!*at)
		l->channel->queue_end = at;
	lookup_free(l);
}
