/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "world.h"

/* Thread of the fixture's agent, until world.stop. */
void *agent_run(void *arg);
