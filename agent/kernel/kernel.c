// SPDX-License-Identifier: Apache-2.0
/* From nothing to attached programs, and back. */

#include "agent/kernel/kernel_state.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/vfs.h>

#include "agent/cleanup.h"
#include "agent/kernel/cgroup.h"

static bool is_power_of_two(uint32_t n)
{
	return n && !(n & (n - 1));
}

static int sizes_set(struct weft_kernel *k, const struct weft_kernel_config *cfg,
		     struct weft_diag *diag)
{
	k->img_size = cfg->img_size ? cfg->img_size : WEFT_IMAGE_SIZE_DEFAULT;
	k->state_size = cfg->state_size ? cfg->state_size : WEFT_STATE_SIZE_DEFAULT;
	if (!is_power_of_two(k->img_size) || k->img_size < WEFT_IMAGE_SLACK ||
	    k->img_size > WEFT_IMAGE_SIZE_MAX)
		return weft_diag_add(diag, -EINVAL, "kernel", "image_size",
				     "%u is not a power of two from %u to %u", k->img_size,
				     WEFT_IMAGE_SLACK, WEFT_IMAGE_SIZE_MAX);
	if (!is_power_of_two(k->state_size) || k->state_size < WEFT_STATE_SLACK ||
	    k->state_size > WEFT_STATE_SIZE_MAX)
		return weft_diag_add(diag, -EINVAL, "kernel", "state_size",
				     "%u is not a power of two from %u to %u", k->state_size,
				     WEFT_STATE_SLACK, WEFT_STATE_SIZE_MAX);
	return 0;
}

/* Features that are needed or not; decides whether sk_msg can be used at all. */
static int features_judge(struct weft_kernel *k, struct weft_diag *diag)
{
	int err = 0;

	if (k->feature[WEFT_FEATURE_CONNECT4].err == -EPERM)
		return weft_diag_add(diag, -EPERM, "kernel", "privileges",
				     "root, or CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON and "
				     "CAP_SYS_ADMIN, is needed to load programs");
	k->msg_on = true;
	for (int i = 0; i < WEFT_FEATURE__MAX; i++) {
		const struct weft_feature_row *row = &weft_feature_rows[i];

		if (k->feature[i].available)
			continue;
		if (row->required)
			err = weft_diag_add(diag, -ENOTSUP, "kernel", row->name, "%s",
					    k->feature[i].reason);
		if (i >= WEFT_FEATURE_REDIRECT && i <= WEFT_FEATURE_NETNS_MSG && k->msg_on) {
			k->msg_on = false;
			snprintf(k->msg_off_reason, sizeof(k->msg_off_reason), "%s: %.100s",
				 row->name, k->feature[i].reason);
		}
	}
	k->verdict_on = k->msg_on && !k->feature[WEFT_FEATURE_FIONREAD].available;
	if (k->verdict_on && !k->feature[WEFT_FEATURE_VERDICT].available) {
		k->msg_on = k->verdict_on = false;
		snprintf(k->msg_off_reason, sizeof(k->msg_off_reason),
			 "FIONREAD would be wrong and no verdict program loads");
	}
	return err;
}

/* Opens the object, sets its sizes and leaves out what this kernel cannot run. */
static int object_open(struct weft_kernel *k, uint32_t n_slot)
{
	struct weft_bpf *b = weft_bpf__open();
	int err;

	if (!b)
		return -errno;
	k->skel = b;
	err = bpf_map__set_value_size(b->maps.image, k->img_size + WEFT_IMAGE_SLACK);
	if (!err)
		err = bpf_map__set_value_size(b->maps.state, k->state_size + WEFT_STATE_SLACK);
	if (!err)
		err = bpf_map__set_max_entries(b->maps.sock, n_slot);
	if (!err)
		err = bpf_map__set_max_entries(b->maps.orig, n_slot * WEFT_ORIGS_PER_SLOT);
	if (!err)
		err = bpf_map__set_max_entries(b->maps.stream, k->verdict_on ? n_slot : 1);
	if (err)
		return err;
	b->rodata->img_mask = k->img_size - 1;
	b->rodata->state_mask = k->state_size - 1;
	b->rodata->msg_on = k->msg_on;
	b->rodata->verdict_on = k->verdict_on;
	bpf_program__set_autoload(b->progs.msg, k->msg_on);
	bpf_program__set_autoload(b->progs.skb, k->verdict_on);
	bpf_program__set_autoload(b->progs.connect6, k->feature[WEFT_FEATURE_CONNECT6].available);
	bpf_program__set_autoload(b->progs.getpeername4,
				  k->feature[WEFT_FEATURE_PEERNAME4].available);
	bpf_program__set_autoload(b->progs.getpeername6,
				  k->feature[WEFT_FEATURE_PEERNAME6].available);
	return 0;
}

/* Loads; when sk_msg alone is what the verifier refuses, goes on without it. */
static int object_load(struct weft_kernel *k, uint32_t n_slot, struct weft_diag *diag)
{
	int err = object_open(k, n_slot);

	if (!err)
		err = weft_bpf__load(k->skel);
	if (err && err != -EPERM && err != -ENOMEM && k->msg_on) {
		snprintf(k->msg_off_reason, sizeof(k->msg_off_reason),
			 "the sk_msg program does not load: %s", strerror(-err));
		k->msg_on = k->verdict_on = false;
		weft_bpf__destroy(k->skel);
		k->skel = NULL;
		err = object_open(k, n_slot);
		if (!err)
			err = weft_bpf__load(k->skel);
	}
	if (err)
		return weft_diag_add(diag, err, "kernel", "programs", "loading failed: %s",
				     strerror(-err));
	return 0;
}

static int map_memory(int fd, size_t size, uint8_t **ret)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	*ret = p;
	return 0;
}

static void share_set(struct weft_kernel *k, uint32_t pod_slots, uint32_t n_slot)
{
	struct weft_state_head *head = (void *)k->state;
	uint32_t share = pod_slots ? pod_slots : WEFT_SLOTS_PER_POD_DEFAULT;

	head->pod_slots_max = share < n_slot ? share : n_slot;
	head->pod_origs_max = head->pod_slots_max * WEFT_ORIGS_PER_SLOT;
}

static int memory_map(struct weft_kernel *k, const struct weft_kernel_config *cfg,
		      uint32_t n_slot, struct weft_diag *diag)
{
	int err = map_memory(bpf_map__fd(k->skel->maps.image), k->img_size + WEFT_IMAGE_SLACK,
			     &k->img);

	if (!err)
		err = map_memory(bpf_map__fd(k->skel->maps.state),
				 k->state_size + WEFT_STATE_SLACK, &k->state);
	if (err)
		return weft_diag_add(diag, err, "kernel", "memory", "mmap: %s", strerror(-err));
	err = weft_state_layout(k->state, k->state_size, n_slot,
				cfg->n_cell ? cfg->n_cell : WEFT_CELLS_DEFAULT, WEFT_HEADS_DEFAULT);
	if (err)
		return weft_diag_add(diag, err, "kernel", "state_size",
				     "%u bytes do not hold the slots and cells asked for",
				     k->state_size);
	share_set(k, cfg->pod_slots, n_slot);
	return 0;
}

static int programs_link(struct weft_kernel *k, struct weft_diag *diag)
{
	struct weft_bpf *b = k->skel;

#define LINK(prog)                                                                                 \
	if (bpf_program__autoload(b->progs.prog)) {                                                \
		b->links.prog = bpf_program__attach_cgroup(b->progs.prog, k->cgroup_fd);           \
		if (!b->links.prog)                                                                \
			return weft_diag_add(diag, -errno, "kernel", #prog,                        \
					     "attaching to the cgroup: %s", strerror(errno));      \
	}
	WEFT_CGROUP_PROGRAMS(LINK)
#undef LINK
	return 0;
}

int weft_kernel_load(const struct weft_kernel_config *cfg, struct weft_diag *diag,
		     struct weft_kernel **ret)
{
	uint32_t n_slot = cfg->n_slot ? cfg->n_slot : WEFT_SLOTS_DEFAULT;
	struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
	struct weft_kernel *k = calloc(1, sizeof(*k));
	int err;

	if (!k)
		return -ENOMEM;
	k->cgroup_fd = -1;
	k->grace_fd = -1;
	err = sizes_set(k, cfg, diag);
	if (!err) {
		/* Kernels before 5.11 charge maps to it; a refusal shows up at load. */
		setrlimit(RLIMIT_MEMLOCK, &unlimited);
		weft_features_probe(k->feature);
		err = features_judge(k, diag);
	}
	if (!err)
		err = object_load(k, n_slot, diag);
	if (!err)
		err = memory_map(k, cfg, n_slot, diag);
	if (!err) {
		k->news = ring_buffer__new(bpf_map__fd(k->skel->maps.news), weft_kernel_on_news, k,
					   NULL);
		err = k->news ? 0 : -errno;
	}
	if (!err) {
		k->grace_fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, NULL, 4, 4, 1, NULL);
		err = k->grace_fd < 0 ? -errno : weft_kernel_synchronize(k);
	}
	if (err) {
		weft_kernel_close(k);
		return err;
	}
	*ret = k;
	return 0;
}

int weft_kernel_open(const struct weft_kernel_config *cfg, struct weft_diag *diag,
		     struct weft_kernel **ret)
{
	_auto_close_ int cgroup = -1;
	int err = weft_cgroup_open(cfg->cgroup, diag, &cgroup);

	if (!err)
		err = weft_kernel_load(cfg, diag, ret);
	if (err)
		return err;
	(*ret)->cgroup_fd = WEFT_TAKE_FD(cgroup);
	return 0;
}

int weft_kernel_attach(struct weft_kernel *k, struct weft_diag *diag)
{
	int map = bpf_map__fd(k->skel->maps.sock);
	int err = 0;

	if (k->msg_on)
		err = bpf_prog_attach(bpf_program__fd(k->skel->progs.msg), map, BPF_SK_MSG_VERDICT,
				      0);
	if (!err && k->verdict_on)
		err = bpf_prog_attach(bpf_program__fd(k->skel->progs.skb), map,
				      BPF_SK_SKB_STREAM_VERDICT, 0);
	if (err)
		return weft_diag_add(diag, err, "kernel", "sock", "attaching to the sock map: %s",
				     strerror(-err));
	err = programs_link(k, diag);
	k->attached = !err;
	return err;
}

void weft_kernel_close(struct weft_kernel *k)
{
	if (!k)
		return;
	if (k->img)
		munmap(k->img, k->img_size + WEFT_IMAGE_SLACK);
	if (k->state)
		munmap(k->state, k->state_size + WEFT_STATE_SLACK);
	ring_buffer__free(k->news);
	weft_bpf__destroy(k->skel);
	if (k->grace_fd >= 0)
		close(k->grace_fd);
	if (k->cgroup_fd >= 0)
		close(k->cgroup_fd);
	free(k);
}

void *weft_kernel_image(struct weft_kernel *k, uint32_t *ret_size)
{
	*ret_size = k->img_size;
	return k->img;
}

void *weft_kernel_state(struct weft_kernel *k, uint32_t *ret_size)
{
	*ret_size = k->state_size;
	return k->state;
}
