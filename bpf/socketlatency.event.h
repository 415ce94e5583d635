/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SOCKETLATENCY_EVENT_H
#define SOCKETLATENCY_EVENT_H

#include "skl/types.h"

/* Data that waited too long in a socket: to be read by the process (type 0), or to leave after it was written (type 1). */
struct socketlatency_event {
	struct skl_head head;
	struct skl_tuple tuple; /* source = the local end */
	__u64 latency_ns;
	__u32 pid; /* who read, or who wrote */
	__u32 _pad;
	skl_comm comm;
};

#endif
