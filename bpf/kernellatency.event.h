/* SPDX-License-Identifier: GPL-2.0 */
#ifndef KERNELLATENCY_EVENT_H
#define KERNELLATENCY_EVENT_H

#include "skl/types.h"

/* A packet that took too long between device and socket: received (type 0) or transmitted (type 1). */
struct kernellatency_event {
	struct skl_head head;
	struct skl_tuple tuple; /* source = the sender */
	__u64 latency_ns;
	/* time since the start at which it was there; 0 = not known */
	__u64 routing_ns; /* received: through PREROUTING */
	__u64 local_ns; /* received: routed to this host; transmitted: through LOCAL_OUT */
	__u64 delivery_ns; /* received: through LOCAL_IN */
	__u32 length; /* of the packet, as far as it is still there */
	__u32 _pad;
};

#endif
