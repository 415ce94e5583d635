/* SPDX-License-Identifier: GPL-2.0 */
#ifndef BIOLATENCY_EVENT_H
#define BIOLATENCY_EVENT_H

#include "skl/types.h"

/* A block request that took too long. Owner = the process that gave it to the driver. */
struct biolatency_event {
	struct skl_head head;
	__u64 latency_ns;
	__u32 bytes;
	__u32 operation; /* enum req_op of the running kernel */
	__u32 pid;
	__u32 _pad;
	skl_comm comm;
	char disk[32];
};

#endif
