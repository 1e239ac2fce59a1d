// SPDX-License-Identifier: Apache-2.0
#include "agent/privileges.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A connection is two descriptors; the kernel's own ceiling is fs.nr_open, 1048576 by default. */
#define FILES_WANTED 1048576u

static const uint64_t kept =
	1ull << CAP_BPF | 1ull << CAP_NET_ADMIN | 1ull << CAP_PERFMON | 1ull << CAP_SYS_ADMIN;

static void files_raise(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	if (limit.rlim_max < FILES_WANTED) {
		struct rlimit more = {FILES_WANTED, FILES_WANTED};

		if (setrlimit(RLIMIT_NOFILE, &more) == 0)
			return;
	}
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

int weft_privileges_drop(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	files_raise();
	if (syscall(SYS_capget, &head, data) < 0)
		return -errno;
	/* A program executed later would get the bounding set back as root: cut that as well. */
	for (int cap = 0; cap <= CAP_LAST_CAP; cap++) {
		if (!(kept & 1ull << cap) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 &&
		    errno != EINVAL && errno != EPERM)
			return -errno;
	}
	for (int i = 0; i < 2; i++) {
		data[i].permitted &= (uint32_t)(kept >> (32 * i));
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0;
	}
	if (syscall(SYS_capset, &head, data) < 0)
		return -errno;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return 0;
}
