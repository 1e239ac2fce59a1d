// SPDX-License-Identifier: Apache-2.0
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/utsname.h>

#include "agent/cleanup.h"
#include "agent/kernel/probe.h"
#include "probe.skel.h"

#define WEFT_ROW_FEATURE(n, name, prog, required, without) {name, prog, required, without},
const struct weft_feature_row weft_feature_rows[WEFT_FEATURE__MAX] = {
	WEFT_FEATURES(WEFT_ROW_FEATURE)};

/* Loads one program of probe.bpf.c (or the two of the FIONREAD test) and nothing else. */
static int load_only(const char *a, const char *b, struct probe_bpf **ret)
{
	struct probe_bpf *p = probe_bpf__open();
	struct bpf_program *prog;
	int err;

	if (!p)
		return -errno;
	bpf_object__for_each_program(prog, p->obj) {
		const char *name = bpf_program__name(prog);

		bpf_program__set_autoload(prog, !strcmp(name, a) || (b && !strcmp(name, b)));
	}
	err = probe_bpf__load(p);
	if (err) {
		probe_bpf__destroy(p);
		return err;
	}
	*ret = p;
	return 0;
}

static int loopback_up(void)
{
	_auto_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq req = {.ifr_name = "lo", .ifr_flags = IFF_UP};

	return fd < 0 || ioctl(fd, SIOCSIFFLAGS, &req) ? -errno : 0;
}

/* A TCP connection over loopback. */
static int pair_open(int *ret_client, int *ret_server)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(addr);
	_auto_close_ int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	_auto_close_ int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	_auto_close_ int server = -1;

	if (listener < 0 || client < 0 || bind(listener, (struct sockaddr *)&addr, len) ||
	    listen(listener, 1) || getsockname(listener, (struct sockaddr *)&addr, &len) ||
	    connect(client, (struct sockaddr *)&addr, len))
		return -errno;
	server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (server < 0)
		return -errno;
	*ret_client = WEFT_TAKE_FD(client);
	*ret_server = WEFT_TAKE_FD(server);
	return 0;
}

/* Where the byte that FIONREAD must count comes from. */
enum fionread_from { FROM_TCP, FROM_TCP_WITH_VERDICT, FROM_REDIRECT };

/* Bytes that FIONREAD reports for one byte that waits on a socket in a map; -errno. */
static int fionread_of(enum fionread_from from)
{
	bool verdict = from == FROM_TCP_WITH_VERDICT;
	const char *msg = from == FROM_REDIRECT ? "p_redirect" : "p_pass";
	_auto_close_ int client = -1, server = -1;
	struct pollfd pfd = {.events = POLLIN};
	struct bpf_program *prog;
	struct probe_bpf *p;
	__u64 key = 1, val;
	int n = -1, map, err;

	err = load_only(msg, verdict ? "p_verdict" : NULL, &p);
	if (err)
		return err;
	map = bpf_map__fd(p->maps.probe_sock);
	prog = bpf_object__find_program_by_name(p->obj, msg);
	err = pair_open(&client, &server);
	if (!err)
		err = bpf_prog_attach(bpf_program__fd(prog), map, BPF_SK_MSG_VERDICT, 0);
	if (!err && verdict)
		err = bpf_prog_attach(bpf_program__fd(p->progs.p_verdict), map,
				      BPF_SK_SKB_STREAM_VERDICT, 0);
	val = (__u64)client;
	if (!err)
		err = bpf_map_update_elem(map, &key, &val, BPF_ANY);
	pfd.fd = client;
	if (!err && (send(from == FROM_REDIRECT ? client : server, "x", 1, MSG_NOSIGNAL) != 1 ||
		     poll(&pfd, 1, 1000) != 1 || ioctl(client, FIONREAD, &n)))
		err = -EIO;
	probe_bpf__destroy(p);
	return err ? err : n;
}

struct fionread_test {
	int plain, with_verdict, redirected;
	int err;
};

/* In a thread, so that only it changes its network namespace. */
static void *fionread_run(void *arg)
{
	struct fionread_test *t = arg;

	t->err = unshare(CLONE_NEWNET) ? -errno : loopback_up();
	if (t->err)
		return NULL;
	t->plain = fionread_of(FROM_TCP);
	if (t->plain == 0)
		t->with_verdict = fionread_of(FROM_TCP_WITH_VERDICT);
	t->redirected = fionread_of(FROM_REDIRECT);
	return NULL;
}

static void fionread_judge(struct weft_feature_result *r, int err, int n, const char *what)
{
	if (!err && n < 0)
		err = n;
	r->available = !err && n == 1;
	if (err)
		snprintf(r->reason, sizeof(r->reason), "not tested: %s", strerror(-err));
	else
		snprintf(r->reason, sizeof(r->reason), "%d for one byte %s", n, what);
}

static void fionread_probe(struct weft_feature_result *tcp, struct weft_feature_result *own)
{
	struct fionread_test t = {0};
	pthread_t thread;
	int err = pthread_create(&thread, NULL, fionread_run, &t);

	if (!err)
		pthread_join(thread, NULL);
	else
		t.err = -err;
	fionread_judge(tcp, t.err, t.plain, "from TCP on a socket in a map");
	if (!t.err && t.plain == 0)
		snprintf(tcp->reason, sizeof(tcp->reason),
			 "0 for one byte from TCP on a socket in a map, %d with a verdict program",
			 t.with_verdict);
	fionread_judge(own, t.err, t.redirected, "redirected to its own sender");
}

static void release_probe(struct weft_feature_result *r)
{
	struct utsname u;

	uname(&u);
	r->available = weft_sockmap_fixed(u.release, r->reason, sizeof(r->reason));
}

void weft_features_probe(struct weft_feature_result results[WEFT_FEATURE__MAX])
{
	libbpf_print_fn_t print = libbpf_set_print(NULL); /* failures are answers here */

	for (int i = 0; i < WEFT_FEATURE__MAX; i++) {
		struct weft_feature_result *r = &results[i];
		struct probe_bpf *p;
		int err;

		*r = (struct weft_feature_result){0};
		if (i == WEFT_FEATURE_FIONREAD || i == WEFT_FEATURE_FIONREAD_OWN)
			continue;
		if (i == WEFT_FEATURE_FIXES) {
			release_probe(r);
			continue;
		}
		err = load_only(weft_feature_rows[i].program, NULL, &p);
		r->available = !err;
		r->err = err;
		if (!err)
			probe_bpf__destroy(p);
		snprintf(r->reason, sizeof(r->reason), "%s%s", err ? "trial load: " : "loads",
			 err ? strerror(-err) : "");
	}
	fionread_probe(&results[WEFT_FEATURE_FIONREAD], &results[WEFT_FEATURE_FIONREAD_OWN]);
	libbpf_set_print(print);
}
