/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the daemon may do once it is set up. Capabilities belong to threads: call before any other
 * thread exists. */

/*
 * Raises the limit of open files to what is allowed, then keeps of all capabilities BPF, NET_ADMIN,
 * PERFMON and SYS_ADMIN (to enter network namespaces) only, for good. -errno.
 */
int weft_privileges_drop(void);
