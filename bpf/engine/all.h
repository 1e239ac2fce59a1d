/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* The whole engine, for a program that carries all of it. */

#include "bpf/engine/decide.h"
#include "bpf/engine/reply.h"
#include "bpf/engine/slot.h"
#include "bpf/engine/tcp.h"
