/* SPDX-License-Identifier: GPL-2.0 */
#ifndef LISTEN_EVENT_H
#define LISTEN_EVENT_H

#include "skl/types.h"

/* A listener whose queue is full: what comes next is dropped. Type 0 = accept queue, 1 = SYN queue. */
struct listen_event {
	struct skl_head head;
	struct skl_tuple tuple; /* the listener's own address and port as source; nothing as destination */
	__u64 inode; /* of the listening socket */
	__u32 length;
	__u32 limit;
};

#endif
