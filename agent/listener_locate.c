// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cleanup.h"
#include "agent/enroll/pod.h"
#include "agent/explain.h"
#include "agent/options.h"
#include "bpf/engine/engine.h"

/* "10.0.0.1:80", "[fd00::1]:80". -EINVAL: not of this form, so a name. */
static int address_parse(const char *text, struct weft_sockaddr *ret)
{
	const char *colon = strrchr(text, ':');
	_auto_free_ char *host = NULL;
	struct weft_sockaddr addr = {0};
	size_t len;
	uint64_t port;

	if (!colon || weft_number_parse(colon + 1, 1, 65535, &port) < 0)
		return -EINVAL;
	len = (size_t)(colon - text);
	if (len > 2 && text[0] == '[' && text[len - 1] == ']')
		host = strndup(text + 1, len - 2);
	else
		host = strndup(text, len);
	if (!host || weft_addr_parse(host, &addr.addr) < 0)
		return -EINVAL;
	addr.port = (__u16)port;
	addr.family = weft_addr_is_v4(&addr.addr) ? AF_INET : AF_INET6;
	*ret = addr;
	return 0;
}

/* Some address by which a listener is reached; false: by none (it is only a name). */
static bool address_of(uint32_t tab_off, uint32_t listener, bool wildcard,
		       struct weft_sockaddr *ret)
{
	const struct weft_img_addr_tab *tab = tab_off ? weft_img_at(tab_off) : NULL;
	const struct weft_img_addr_ent *ent = (const void *)(tab + 1);

	for (uint32_t i = 0; tab && i <= tab->mask; i++) {
		if (ent[i].port == 0 || ent[i].val != listener)
			continue;
		ret->addr = ent[i].addr;
		ret->port = (__u16)ent[i].port;
		ret->family = weft_addr_is_v4(&ent[i].addr) ? AF_INET : AF_INET6;
		/* A wildcard stands for every address: loopback is one of them. */
		if (wildcard)
			ret->addr.w[3] = ret->family == AF_INET ? htonl(INADDR_LOOPBACK) : htonl(1);
		return true;
	}
	return false;
}

static void ref_fill(const struct weft_img_view *view, uint32_t off, struct weft_listener_ref *ret)
{
	ret->off = off;
	if (!address_of(view->listener, off, false, &ret->dst) &&
	    !address_of(view->wildcard, off, true, &ret->dst))
		ret->dst = (struct weft_sockaddr){
			.addr = {.w = {0, 0, htonl(0xffff), htonl(INADDR_LOOPBACK)}},
			.port = 80,
			.family = AF_INET};
}

static int by_name(const struct weft_img_view *view, const char *name, struct weft_diag *diag,
		   struct weft_listener_ref *ret)
{
	const struct weft_img_tab *tab = view->names ? weft_img_at(view->names) : NULL;
	const struct weft_img_ent *ent = (const void *)(tab + 1);
	uint32_t found = 0, n = 0;

	for (uint32_t i = 0; tab && i <= tab->mask; i++) {
		const struct weft_img_listener *l;

		if (ent[i].kind != WEFT_KIND_LISTENER_NAME)
			continue;
		l = weft_img_at(ent[i].val);
		n++;
		if (name && (l->name.len != strlen(name) ||
			     memcmp(weft_img_at(l->name.off), name, l->name.len) != 0))
			continue;
		found = ent[i].val;
	}
	if (name && !found)
		return weft_diag_add(diag, -EINVAL, "explain", "listener",
				     "no listener is called %s", name);
	if (!name && n != 1)
		return weft_diag_add(diag, -EINVAL, "explain", "listener",
				     "there are %u listeners, name one", n);
	ref_fill(view, found, ret);
	return 0;
}

int weft_listener_locate(uint32_t view_off, const char *listener, struct weft_diag *diag,
			 struct weft_listener_ref *ret)
{
	const struct weft_img_view *view = weft_img_at(view_off);

	/* A listener's name may look like an address ("10.0.0.1_80", "0.0.0.0:80"): names first. */
	if (listener && address_parse(listener, &ret->dst) == 0) {
		if (by_name(view, listener, NULL, ret) < 0)
			ret->off = 0;
		return 0;
	}
	return by_name(view, listener, diag, ret);
}
