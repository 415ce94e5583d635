/* SPDX-License-Identifier: GPL-2.0 */
#ifndef TCPRESET_EVENT_H
#define TCPRESET_EVENT_H

#include "skl/types.h"

/*
 * One RST, sent or received. head.type: 0 = answered a segment for which there is no socket, 1 = answered a segment that the socket
 * did not accept, 2 = this end gave the connection up, 3 = the peer did.
 * Types 0 and 1: the tuple is that of the segment that was answered. Types 2 and 3: source is the local end.
 */
struct tcpreset_event {
	struct skl_head head;
	struct skl_tuple tuple;
	__u32 reason; /* enum sk_rst_reason + 1; 0 = this kernel does not say */
	__u8 state; /* state of the socket; 0 = none */
	__u8 tcp_flags; /* of the segment that was answered */
	__u8 _pad[2];
};

struct tcpreset_stack_event {
	struct tcpreset_event event;
	skl_kaddr stack[32];
};

#endif
