/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Files as a source: Envoy bootstrap (static_resources) or plain lists of resources with "@type". */

#include <stdint.h>

#include "xds/resource.h"

/*
 * Reads PATH (a file, or a folder: its *.yaml, *.yml, *.json in byte order, not recursive) into a new
 * snapshot. One document or several ("---"); each is a bootstrap (static_resources; also
 * dynamic_resources' lds_config/cds_config with path_config_source, and RDS/EDS path_config_source
 * relative to the file), a DiscoveryResponse in JSON form, a list of resources, {resources: [...]},
 * or one resource, every resource with "@type". Inline route_config stays in its listener, inline
 * load_assignment in its cluster. Duplicate names are an error. A file of several MiB is fine; the
 * limit is WEFT_FILE_MAX (64 MiB).
 * 0, or -errno with all causes in diag (resource "FILE:LINE" where no resource is known); then *ret
 * is untouched: all or nothing.
 */
int weft_file_load(const char *path, int64_t now_ms, struct weft_diag *diag,
		   struct weft_snapshot **ret);

/* Every path that the load looked at (for a watch): NULL-terminated, caller frees each and the list. */
int weft_file_watch_list(const char *path, char ***ret);
