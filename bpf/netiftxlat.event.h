/* SPDX-License-Identifier: GPL-2.0 */
#ifndef NETIFTXLAT_EVENT_H
#define NETIFTXLAT_EVENT_H

#include "skl/types.h"

/* A packet that waited too long in a queueing discipline (type 0) or whose driver took too long to take it (type 1). */
struct netiftxlat_event {
	struct skl_head head;
	struct skl_tuple tuple;
	__u64 latency_ns;
	__u32 ifindex;
	__u32 length; /* bytes */
	skl_ifname ifname;
};

#endif
