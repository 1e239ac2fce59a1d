// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "agent/enroll/pod.h"

int weft_addr_parse(const char *text, struct weft_addr *ret)
{
	struct in_addr v4;
	struct in6_addr v6;

	if (inet_pton(AF_INET, text, &v4) == 1) {
		*ret = (struct weft_addr){.w = {0, 0, htonl(0xffff), v4.s_addr}};
		return 0;
	}
	if (inet_pton(AF_INET6, text, &v6) == 1) {
		memcpy(ret, &v6, sizeof(*ret));
		return 0;
	}
	return -EINVAL;
}

bool weft_addr_is_v4(const struct weft_addr *addr)
{
	return addr->w[0] == 0 && addr->w[1] == 0 && addr->w[2] == htonl(0xffff);
}

bool weft_addr_is_zero(const struct weft_addr *addr)
{
	return (addr->w[0] | addr->w[1] | addr->w[2] | addr->w[3]) == 0;
}

const char *weft_addr_text(const struct weft_addr *addr, char *buf)
{
	if (weft_addr_is_v4(addr))
		return inet_ntop(AF_INET, &addr->w[3], buf, INET6_ADDRSTRLEN);
	return inet_ntop(AF_INET6, addr->w, buf, INET6_ADDRSTRLEN);
}
