/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SELFTEST_EVENT_H
#define SELFTEST_EVENT_H

#include "skl/types.h"

/* What the self-test's programs are given and give back. */
struct selftest_generate {
	__u64 seq; /* in: first sequence number; out: next */
	__u32 want;
	__u32 done; /* out: records written before the ring was full */
	__u32 size; /* 64, 128, 256; 0 = mixed sizes with discarded records in between */
	__u32 flags; /* of bpf_ringbuf_submit */
};

struct selftest_emit {
	__u64 cookie; /* of the first owner */
	__u32 netns;
	__u32 owners; /* event i belongs to owner i mod owners: cookie + k, netns + k */
	__u32 want;
	__u32 type;
};

struct selftest_observe {
	__u64 ns;
	__u64 cookie;
	__u32 netns;
	__u32 bucket; /* out */
};

struct selftest_event {
	struct skl_head head;
	struct skl_tuple tuple;
	__u64 seq;
};

#endif
