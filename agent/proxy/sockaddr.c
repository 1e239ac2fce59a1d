// SPDX-License-Identifier: Apache-2.0
#include "agent/proxy/sockaddr.h"

#include <netinet/in.h>
#include <string.h>

socklen_t sockaddr_fill(const struct weft_sockaddr *from, struct sockaddr_storage *ret)
{
	struct sockaddr_in6 *s6 = (void *)ret;
	struct sockaddr_in *s4 = (void *)ret;

	memset(ret, 0, sizeof(*ret));
	if (from->family == AF_INET) {
		s4->sin_family = AF_INET;
		s4->sin_port = htons(from->port);
		s4->sin_addr.s_addr = from->addr.w[3];
		return sizeof(*s4);
	}
	s6->sin6_family = AF_INET6;
	s6->sin6_port = htons(from->port);
	memcpy(&s6->sin6_addr, from->addr.w, sizeof(from->addr.w));
	return sizeof(*s6);
}

void sockaddr_take(const struct sockaddr_storage *from, struct weft_sockaddr *ret)
{
	const struct sockaddr_in6 *s6 = (const void *)from;
	const struct sockaddr_in *s4 = (const void *)from;

	*ret = (struct weft_sockaddr){.family = AF_INET};
	if (from->ss_family == AF_INET) {
		ret->addr.w[2] = htonl(0xffff);
		ret->addr.w[3] = s4->sin_addr.s_addr;
		ret->port = ntohs(s4->sin_port);
		return;
	}
	memcpy(ret->addr.w, &s6->sin6_addr, sizeof(ret->addr.w));
	ret->port = ntohs(s6->sin6_port);
	ret->family = IN6_IS_ADDR_V4MAPPED(&s6->sin6_addr) ? AF_INET : AF_INET6;
}
