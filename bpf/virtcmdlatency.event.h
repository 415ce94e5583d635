/* SPDX-License-Identifier: GPL-2.0 */
#ifndef VIRTCMDLATENCY_EVENT_H
#define VIRTCMDLATENCY_EVENT_H

#include "skl/types.h"

/* A command to a virtio network device that took too long. */
struct virtcmdlatency_event {
	struct skl_head head;
	__u64 latency_ns;
	__u32 pid;
	__u32 cpu;
	skl_comm comm;
};

#endif
