/* SPDX-License-Identifier: GPL-2.0 */
#ifndef TCPCONNECT_EVENT_H
#define TCPCONNECT_EVENT_H

#include "skl/types.h"

/* A connect() that did not become a connection. */
struct tcpconnect_event {
	struct skl_head head;
	struct skl_tuple tuple; /* source = the local end */
	__u64 latency_ns; /* from the first SYN to the end of the attempt */
	__u32 pid; /* who called connect() */
	__u32 error; /* errno; 0 = the process closed the socket before the answer came */
	__u32 syn_retransmits;
	__u32 _pad;
	skl_comm comm;
};

#endif
