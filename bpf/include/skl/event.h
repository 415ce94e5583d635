/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The only way an event leaves the kernel: rate limit -> reserve -> zero -> fill -> submit, with an account of each
 * owner and type in skl_limit: offered = emitted + suppressed + lost. Costs one map look-up for each event offered.
 */
#ifndef SKL_EVENT_H
#define SKL_EVENT_H

#include "skl/types.h"
#include <bpf/bpf_helpers.h>

#define SKL_STACK_MAX 32

/* Knobs, set by the loader. */
const volatile __u16 skl_probe = 0; /* goes into every record */
const volatile __u64 skl_interval_ns = 0; /* time that one event of an owner and type uses up; 0 = no limit */
const volatile __u64 skl_burst_ns = 0; /* burst x interval */
const volatile __u8 skl_events_on = 1; /* 0 = metrics only */

struct skl_limit_key {
	struct skl_owner owner;
	__u32 type;
	__u32 _pad;
};

struct skl_limit_val {
	__u64 tat; /* theoretical arrival time of the next event (GCRA), ns of CLOCK_MONOTONIC */
	__u64 emitted;
	__u64 suppressed; /* by the rate limit */
	__u64 lost; /* no room in the ring */
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} skl_ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct skl_limit_key);
	__type(value, struct skl_limit_val);
} skl_limit SEC(".maps");

/* What could not be kept for want of room: index = enum skl_full. */
enum skl_full {
	SKL_FULL_LIMIT = 0, /* skl_limit had no room for an owner: the event went to the common account */
	SKL_FULL_COUNT = 1, /* a counter map had no room: increments that are in no series */
	SKL_FULL_STATE = 2, /* a map of running measurements had no room: measurements not made */
	SKL_FULL_EVENT = 3, /* events with no account at all (not even the common one) */
	SKL_FULL_MAX = 4,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SKL_FULL_MAX);
	__type(key, __u32);
	__type(value, __u64);
} skl_full SEC(".maps");

static __always_inline void skl_count_full(__u32 which)
{
	__u64 *n = bpf_map_lookup_elem(&skl_full, &which);

	if (n) /* a softirq on this CPU may come in between */
		__sync_fetch_and_add(n, 1);
}

static __noinline struct skl_limit_val *skl_account_new(struct skl_limit_key *key)
{
	struct skl_limit_val zero = {};
	struct skl_limit_val *v;

	bpf_map_update_elem(&skl_limit, key, &zero, BPF_NOEXIST);
	v = bpf_map_lookup_elem(&skl_limit, key);
	if (v)
		return v;
	/* full: all owners without room share the account of owner 0, which the loader made */
	skl_count_full(SKL_FULL_LIMIT);
	key->owner.cookie = 0;
	key->owner.netns = 0;
	return bpf_map_lookup_elem(&skl_limit, key);
}

static __always_inline struct skl_limit_val *skl_account(const struct skl_owner *owner, __u32 type)
{
	struct skl_limit_key key = { .owner = *owner, .type = type };
	struct skl_limit_val *v = bpf_map_lookup_elem(&skl_limit, &key);

	if (!v)
		v = skl_account_new(&key);
	if (!v)
		skl_count_full(SKL_FULL_EVENT);
	return v;
}

/*
 * Token bucket as a virtual clock (GCRA): one 64-bit word, moved by compare-and-swap, so that no lock is needed. Four lost
 * races in a row count as over the limit.
 */
static __always_inline bool skl_allow(struct skl_limit_val *v, __u64 now)
{
	__u64 interval = skl_interval_ns;

	if (!interval)
		return true;
#pragma clang loop unroll(full)
	for (int i = 0; i < 4; i++) {
		__u64 old = *(volatile __u64 *)&v->tat;
		__u64 tat = old > now ? old : now;

		if (tat + interval > now + skl_burst_ns)
			return false;
		if (__sync_val_compare_and_swap(&v->tat, old, tat + interval) == old)
			return true;
	}
	return false;
}

/*
 * Reserves a record of `size` bytes (a constant), zeroed, with its head filled. NULL = not now; already counted.
 * Fill and bpf_ringbuf_submit(e, 0).
 */
static __always_inline void *skl_reserve(const struct skl_owner *owner, __u64 cgroup, __u16 type, __u64 size)
{
	struct skl_limit_val *v;
	struct skl_head *e;
	__u64 now;

	if (!skl_events_on)
		return NULL;
	v = skl_account(owner, type);
	if (!v)
		return NULL;
	now = bpf_ktime_get_ns();
	if (!skl_allow(v, now)) {
		__sync_fetch_and_add(&v->suppressed, 1);
		return NULL;
	}
	e = bpf_ringbuf_reserve(&skl_ring, size, 0);
	if (!e) {
		__sync_fetch_and_add(&v->lost, 1);
		return NULL;
	}
	__sync_fetch_and_add(&v->emitted, 1);
	__builtin_memset(e, 0, size);
	e->ktime = now;
	e->cookie = owner->cookie;
	e->cgroup = cgroup;
	e->netns = owner->netns;
	e->probe = skl_probe;
	e->type = type;
	return e;
}

#endif
