// SPDX-License-Identifier: Apache-2.0
#include "world.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

struct world world;
static pthread_t agent_thread;
static char home[256]; /* cgroup this process came from */

void world_need_root(void)
{
	if (geteuid() == 0)
		return;
	puts("SKIP: real sockets need root");
	exit(77);
}

static void cgroup_enter(const char *path)
{
	char file[300];
	FILE *f;

	snprintf(file, sizeof(file), "%s/cgroup.procs", path);
	f = fopen(file, "we");
	if (!f)
		return;
	fprintf(f, "%d", getpid());
	fclose(f);
}

static void cgroup_make(void)
{
	FILE *f = setmntent("/proc/mounts", "r");
	struct mntent *m;

	assert(f);
	while ((m = getmntent(f)) && strcmp(m->mnt_type, "cgroup2"))
		continue;
	assert(m);
	snprintf(home, sizeof(home), "%s", m->mnt_dir);
	snprintf(world.cgroup, sizeof(world.cgroup), "%.200s/weft-test-%d", m->mnt_dir, getpid());
	endmntent(f);
	assert(!mkdir(world.cgroup, 0755));
	cgroup_enter(world.cgroup);
}

static void netns_make(void)
{
	char cmd[128];

	assert(!unshare(CLONE_NEWNET));
	assert(!system("ip link set lo up && ip addr add 10.88.0.1/32 dev lo && "
		       "ip -6 addr add fd88::1/128 dev lo"));
	for (int i = 1; i <= FIX_LISTENERS; i++) {
		snprintf(cmd, sizeof(cmd),
			 "ip addr add 10.99.0.%d/32 dev lo && ip -6 addr add fd99::%d/128 dev lo",
			 i, i);
		assert(!system(cmd));
	}
	/* client and server side of TCP Fast Open */
	assert(!system("sysctl -q -w net.ipv4.tcp_fastopen=1027"));
}

static int listen_on(int family, const char *ip, uint16_t *ret_port)
{
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6};
	struct sockaddr_in a4 = {.sin_family = AF_INET};
	struct sockaddr *a = family == AF_INET ? (void *)&a4 : (void *)&a6;
	socklen_t len = family == AF_INET ? sizeof(a4) : sizeof(a6);
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), queue = 64;

	assert(inet_pton(family, ip, family == AF_INET ? (void *)&a4.sin_addr
						       : (void *)&a6.sin6_addr) == 1);
	assert(fd >= 0 && !bind(fd, a, len) && !listen(fd, 512) && !getsockname(fd, a, &len));
	setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN, &queue, sizeof(queue));
	*ret_port = ntohs(family == AF_INET ? a4.sin_port : a6.sin6_port);
	return fd;
}

static void pod_make(void)
{
	struct world *w = &world;
	socklen_t len = sizeof(w->netns);
	uint16_t port;

	w->pod = (struct weft_pod){.id = WORLD_POD,
				   .addr4 = fix_addr4("10.88.0.1"),
				   .addr6 = fix_addr6("fd88::1")};
	for (int i = 0; i < (int)WEFT_LISTEN_PORTS; i++) {
		w->listener[2 * i] = listen_on(AF_INET, "10.88.0.1", &w->pod.port4[i]);
		w->listener[2 * i + 1] = listen_on(AF_INET6, "fd88::1", &w->pod.port6[i]);
	}
	w->server = listen_on(AF_INET, "10.88.0.1", &port);
	w->image.endpoint =
		(struct weft_sockaddr){fix_addr4("10.88.0.1"), port, AF_INET};
	assert(!getsockopt(w->server, SOL_SOCKET, SO_NETNS_COOKIE, &w->netns, &len));
	assert(!weft_kernel_pod_set(w->kernel, w->netns, &w->pod));
}

static void image_make(void)
{
	struct world *w = &world;
	char text[32];

	for (int i = 1; i <= FIX_LISTENERS; i++) {
		snprintf(text, sizeof(text), "10.99.0.%d", i);
		w->image.vip4[i] = (struct weft_sockaddr){fix_addr4(text), 80, AF_INET};
		snprintf(text, sizeof(text), "fd99::%d", i);
		w->image.vip6[i] = (struct weft_sockaddr){fix_addr6(text), 80, AF_INET6};
	}
	w->image.limit_tokens = 5;
	fix_image_publish(&w->image);
	for (uint32_t id = 1; id < FIX_CELL_MISSING; id++)
		fix_cell(WORLD_POD, id);
}

int world_setup(void **state)
{
	struct weft_kernel_config cfg = {.img_size = 1 << 20, .state_size = 8 << 20, .n_slot = 1024,
					 .n_cell = 1024};
	struct weft_diag diag = WEFT_DIAG_INIT;
	uint32_t img_size, state_size;

	(void)state;
	world = (struct world){0};
	cgroup_make();
	netns_make();
	cfg.cgroup = world.cgroup;
	if (weft_kernel_open(&cfg, &diag, &world.kernel) ||
	    weft_kernel_attach(world.kernel, &diag)) {
		puts(weft_diag_text(&diag));
		return -1;
	}
	weft_diag_clear(&diag);
	world.image.img = weft_kernel_image(world.kernel, &img_size);
	world.head = weft_kernel_state(world.kernel, &state_size);
	weft_engine_bind(world.image.img, img_size - 1, world.head, state_size - 1);
	memcpy(world.head->date[0], "Sun, 06 Nov 1994 08:49:37 GMT", 29);
	pod_make();
	image_make();
	return pthread_create(&agent_thread, NULL, agent_run, NULL);
}

int world_teardown(void **state)
{
	(void)state;
	__atomic_store_n(&world.stop, true, __ATOMIC_RELEASE);
	pthread_join(agent_thread, NULL);
	for (int i = 0; i < WORLD_LISTENERS; i++)
		close(world.listener[i]);
	close(world.server);
	weft_kernel_close(world.kernel);
	cgroup_enter(home);
	return rmdir(world.cgroup);
}

void world_body(char *ret, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		ret[i] = "0123456789abcdef"[i / 4 >> i % 4 * 4 & 15];
	ret[len] = 0;
}

void world_drained(void)
{
	struct timespec step = {.tv_nsec = 10000000};

	for (int i = 0; i < 300; i++) {
		if (!__atomic_load_n(&world.head->slots_used, __ATOMIC_ACQUIRE) &&
		    !__atomic_load_n(&world.open, __ATOMIC_ACQUIRE))
			return;
		nanosleep(&step, NULL);
	}
	fail_msg("%llu slots, %u connections of the agent are left",
		 (unsigned long long)world.head->slots_used, world.open);
}

uint64_t world_outcome(enum weft_outcome o)
{
	return __atomic_load_n(&world.head->outcome[0][o], __ATOMIC_ACQUIRE);
}

uint64_t world_handed(enum weft_handed h)
{
	return __atomic_load_n(&world.head->handed[h], __ATOMIC_ACQUIRE);
}

uint64_t world_class(enum weft_class c)
{
	return __atomic_load_n(&world.head->classes[c], __ATOMIC_ACQUIRE);
}
