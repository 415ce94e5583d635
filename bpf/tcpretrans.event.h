/* SPDX-License-Identifier: GPL-2.0 */
#ifndef TCPRETRANS_EVENT_H
#define TCPRETRANS_EVENT_H

#include "skl/types.h"

/* One segment (or GSO packet) sent again. head.type: 0 = data, FIN or SYN, 1 = SYN-ACK. Source = this end. */
struct tcpretrans_event {
	struct skl_head head;
	struct skl_tuple tuple;
	__u32 seq; /* first byte sent again */
	__u32 length; /* bytes */
	__u32 segments; /* what TcpRetransSegs counts; 1 for SYN and SYN-ACK */
	__s32 error; /* of sending it, since v6.15; 0 = sent */
	__u32 rtt_us; /* smoothed round-trip time; 0 = none measured yet */
	__u8 state;
	__u8 ca_state; /* enum tcp_ca_state */
	__u8 retries; /* timeouts in a row */
	__u8 _pad;
};

struct tcpretrans_stack_event {
	struct tcpretrans_event event;
	skl_kaddr stack[32];
};

#endif
