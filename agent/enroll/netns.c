// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/cleanup.h"
#include "agent/enroll/pod.h"

/* Older C libraries' headers do not have it; the kernel has since 5.14. */
#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

struct look {
	int netns_fd, result;
	struct weft_netns_info info;
};

static struct weft_addr mapped(struct in_addr a)
{
	return (struct weft_addr){.w = {0, 0, htonl(0xffff), a.s_addr}};
}

/* By value, not by interface: an address of the pod's own may well be on "lo". */
static void take_v4(const struct in_addr *a, struct weft_addr *global, struct weft_addr *local)
{
	uint32_t host = ntohl(a->s_addr);
	struct weft_addr *to = host >> 24 == 127 ? local : global;

	/* 169.254.0.0/16 is of the link, not of the pod. */
	if (host >> 16 != 0xa9fe && weft_addr_is_zero(to))
		*to = mapped(*a);
}

static void take_v6(const struct in6_addr *a, struct weft_addr *global, struct weft_addr *local)
{
	struct weft_addr *to = IN6_IS_ADDR_LOOPBACK(a) ? local : global;

	if (!IN6_IS_ADDR_LINKLOCAL(a) && weft_addr_is_zero(to))
		memcpy(to, a, sizeof(*to));
}

static int addresses_read(struct weft_netns_info *info)
{
	struct weft_addr local4 = {0}, local6 = {0};
	struct ifaddrs *list;

	if (getifaddrs(&list) < 0)
		return -errno;
	for (const struct ifaddrs *i = list; i; i = i->ifa_next) {
		if (!i->ifa_addr || !(i->ifa_flags & IFF_UP))
			continue;
		if (i->ifa_addr->sa_family == AF_INET)
			take_v4(&((const struct sockaddr_in *)(const void *)i->ifa_addr)->sin_addr,
				&info->addr4, &local4);
		else if (i->ifa_addr->sa_family == AF_INET6)
			take_v6(&((const struct sockaddr_in6 *)(const void *)i->ifa_addr)
					 ->sin6_addr,
				&info->addr6, &local6);
	}
	freeifaddrs(list);
	if (weft_addr_is_zero(&info->addr4) && weft_addr_is_zero(&info->addr6)) {
		info->addr4 = local4;
		info->addr6 = local6;
	}
	return 0;
}

static int look(struct look *l)
{
	socklen_t len = sizeof(l->info.cookie);
	_auto_close_ int fd = -1;

	if (setns(l->netns_fd, CLONE_NEWNET) < 0)
		return -errno;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &l->info.cookie, &len) < 0)
		return -errno;
	return addresses_read(&l->info);
}

static void *look_thread(void *arg)
{
	struct look *l = arg;

	l->result = look(l);
	return NULL;
}

int weft_netns_look(int netns_fd, struct weft_netns_info *ret)
{
	struct look l = {.netns_fd = netns_fd};
	pthread_t thread;
	int r = pthread_create(&thread, NULL, look_thread, &l);

	if (r != 0)
		return -r;
	pthread_join(thread, NULL);
	if (l.result < 0)
		return l.result;
	*ret = l.info;
	return 0;
}
