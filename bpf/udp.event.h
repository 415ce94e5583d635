/* SPDX-License-Identifier: GPL-2.0 */
#ifndef UDP_EVENT_H
#define UDP_EVENT_H

#include "skl/types.h"

/* A datagram that found no room in its socket. */
struct udp_event {
	struct skl_head head;
	struct skl_tuple tuple; /* source = the sender; on older kernels only the local end is known */
	__u64 inode; /* of the socket */
	__u32 queued; /* bytes of memory that waiting datagrams hold */
	__u32 limit; /* SO_RCVBUF as the kernel has it (twice what was set) */
	__u32 error; /* errno: ENOMEM = receive buffer full, ENOBUFS = memory limit of the protocol or cgroup */
	__u32 _pad;
};

#endif
