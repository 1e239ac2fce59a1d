// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/privileges.h"

static unsigned long long status_of(const char *key)
{
	FILE *f = fopen("/proc/self/status", "re");
	unsigned long long value = 0;
	char line[256];

	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, key, strlen(key)) == 0)
			sscanf(line + strlen(key), ": %llx", &value);
	}
	if (f)
		fclose(f);
	return value;
}

/* In a child: it cannot be taken back. 0: as it should be, else the number of what is not. */
static int child(void)
{
	const unsigned long long kept = 1ull << CAP_BPF | 1ull << CAP_NET_ADMIN |
					1ull << CAP_PERFMON | 1ull << CAP_SYS_ADMIN;
	unsigned long long before = status_of("CapPrm");
	struct rlimit files;

	if (weft_privileges_drop() < 0)
		return 1;
	if (status_of("CapPrm") != (before & kept) || status_of("CapEff") != (before & kept))
		return 2;
	if (status_of("CapInh") != 0 || status_of("NoNewPrivs") != 1)
		return 3;
	/* Without CAP_SETPCAP before, the bounding set could not be cut; nothing can be gained all
	 * the same. */
	if (before & 1ull << CAP_SETPCAP && status_of("CapBnd") & ~kept)
		return 4;
	if (getrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_cur != files.rlim_max)
		return 5;
	/* Again: nothing left to drop is no error. */
	return weft_privileges_drop() < 0 ? 6 : 0;
}

static void test_drop(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	pid = fork();
	if (pid == 0)
		_exit(child());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
