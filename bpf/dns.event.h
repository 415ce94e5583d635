/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DNS_EVENT_H
#define DNS_EVENT_H

#include "skl/types.h"

#define SKL_QUESTION 128

/* A DNS question that was not answered well: an answer with an error (type 0), or none in time (type 1). */
struct dns_event {
	struct skl_head head;
	struct skl_tuple tuple; /* source = the client */
	__u64 latency_ns; /* since the question left */
	__u16 id; /* of the DNS message */
	__u8 rcode; /* type 0 */
	__u8 _pad;
	__u32 length; /* bytes of question that are there */
	__u8 question[SKL_QUESTION]; /* what follows the DNS header: name, type, class; names may be longer */
};

#endif
