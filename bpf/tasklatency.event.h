/* SPDX-License-Identifier: GPL-2.0 */
#ifndef TASKLATENCY_EVENT_H
#define TASKLATENCY_EVENT_H

#include "skl/types.h"

/* A task of a pod that was ready to run and had to wait too long for a CPU. */
struct tasklatency_event {
	struct skl_head head;
	__u64 latency_ns;
	__u32 pid; /* process */
	__u32 tid;
	__u32 cpu;
	__u32 _pad;
	skl_comm comm;
	skl_comm before; /* who had the CPU last */
};

#endif
