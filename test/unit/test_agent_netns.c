// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/enroll/pod.h"

/* What the helper thread makes: a namespace with loopback up (or not) and one more address (or
 * none). */
struct make {
	bool up;
	const char *address;
	int fd;
};

static void *make_thread(void *arg)
{
	struct make *m = arg;
	struct ifreq ifr = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int fd;

	m->fd = -1;
	if (unshare(CLONE_NEWNET) < 0)
		return NULL;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (m->up)
		ioctl(fd, SIOCSIFFLAGS, &ifr);
	if (m->address) {
		struct ifreq more = {.ifr_name = "lo:1"};
		struct sockaddr_in *in = (void *)&more.ifr_addr;

		in->sin_family = AF_INET;
		inet_pton(AF_INET, m->address, &in->sin_addr);
		ioctl(fd, SIOCSIFADDR, &more);
	}
	close(fd);
	m->fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	return NULL;
}

static int make(bool up, const char *address)
{
	struct make m = {.up = up, .address = address};
	pthread_t thread;

	pthread_create(&thread, NULL, make_thread, &m);
	pthread_join(thread, NULL);
	if (m.fd < 0)
		skip();
	return m.fd;
}

static struct weft_netns_info look(int fd)
{
	struct weft_netns_info info;

	assert_int_equal(weft_netns_look(fd, &info), 0);
	close(fd);
	return info;
}

static void test_address_of_the_pod(void **state)
{
	struct weft_netns_info info = look(make(true, "10.9.8.7"));
	char text[INET6_ADDRSTRLEN];

	(void)state;
	assert_string_equal(weft_addr_text(&info.addr4, text), "10.9.8.7");
	/* ::1 is no address of the pod's as long as there is a real one. */
	assert_true(weft_addr_is_zero(&info.addr6));
}

static void test_only_loopback(void **state)
{
	struct weft_netns_info info = look(make(true, NULL));
	char text[INET6_ADDRSTRLEN];

	(void)state;
	assert_string_equal(weft_addr_text(&info.addr4, text), "127.0.0.1");
	assert_true(info.cookie != 0);
}

static void test_link_local_does_not_count(void **state)
{
	struct weft_netns_info info = look(make(true, "169.254.1.1"));
	char text[INET6_ADDRSTRLEN];

	(void)state;
	assert_string_equal(weft_addr_text(&info.addr4, text), "127.0.0.1");
}

static void test_nothing_is_up(void **state)
{
	struct weft_netns_info info = look(make(false, NULL));

	(void)state;
	assert_true(weft_addr_is_zero(&info.addr4));
	assert_true(weft_addr_is_zero(&info.addr6));
}

/* Each has its own cookie, and the caller stays where it is. */
static void test_cookies_and_own_namespace(void **state)
{
	struct stat before, after;
	struct weft_netns_info a, b;

	(void)state;
	stat("/proc/thread-self/ns/net", &before);
	a = look(make(true, NULL));
	b = look(make(true, NULL));
	stat("/proc/thread-self/ns/net", &after);
	assert_true(a.cookie != b.cookie);
	assert_true(before.st_ino == after.st_ino);
}

static void test_not_a_namespace(void **state)
{
	struct weft_netns_info info;
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_int_equal(weft_netns_look(fd, &info), -EINVAL);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_address_of_the_pod),
		cmocka_unit_test(test_only_loopback),
		cmocka_unit_test(test_link_local_does_not_count),
		cmocka_unit_test(test_nothing_is_up),
		cmocka_unit_test(test_cookies_and_own_namespace),
		cmocka_unit_test(test_not_a_namespace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
