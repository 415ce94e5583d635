/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SOFTIRQ_EVENT_H
#define SOFTIRQ_EVENT_H

#include "skl/types.h"

/* A soft interrupt that waited too long for its turn (type 0) or worked for too long (type 1). */
struct softirq_event {
	struct skl_head head;
	__u64 latency_ns;
	__u32 cpu;
	__u32 vector; /* as the running kernel numbers them */
	__u32 pid; /* what the CPU was running when it was interrupted */
	__u32 _pad;
	skl_comm comm;
};

struct softirq_stack_event {
	struct softirq_event event;
	skl_kaddr stack[32];
};

#endif
