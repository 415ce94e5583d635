// SPDX-License-Identifier: GPL-2.0
/*
 * softirq: how long soft interrupts wait for their CPU and how long they hold it. Packets are received in net_rx: a CPU that comes
 * late to it makes every pod on the node slow at once.
 *
 * Hooks: the tracepoints irq:softirq_raise, irq:softirq_entry and irq:softirq_exit. A softirq runs on the CPU that raised it, so all
 * state is per CPU and needs no lock. Raised again before it ran, it keeps its first time.
 *
 * Cost: 30 ns for each raise, entry and exit of any softirq; 150 ns more for each run of one that is watched.
 * Cannot see: packets that busy polling takes without a softirq.
 */
#include "softirq.event.h"
#include "skl/event.h"
#include "skl/hist.h"
#include <bpf/bpf_tracing.h>

SKL_EVENT(softirq_stack_event);

#define VECTORS 32

/* Bit n = vector n is watched. */
const volatile __u32 skl_vectors = 0;
const volatile __u64 skl_slow_ns = 10000000;
const volatile __u8 skl_stack_on = 0;

enum skl_phase {
	PHASE_SCHEDULE = 0,
	PHASE_EXECUTE = 1,
};

struct skl_times {
	__u64 raised;
	__u64 entered;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, VECTORS);
	__type(key, __u32);
	__type(value, struct skl_times);
} skl_state SEC(".maps");

struct skl_softirq_key {
	struct skl_owner owner; /* the node's: all zero */
	__u32 vector;
	__u32 phase;
};

SKL_HIST_MAP(skl_durations, skl_softirq_key, 128);

static __always_inline struct skl_times *times_of(__u32 vector)
{
	if (vector >= VECTORS || !(skl_vectors & (1U << vector)))
		return NULL;
	return bpf_map_lookup_elem(&skl_state, &vector);
}

static __always_inline void fill(struct softirq_event *e, const struct skl_softirq_key *key, __u64 ns)
{
	e->latency_ns = ns;
	e->cpu = bpf_get_smp_processor_id();
	e->vector = key->vector;
	e->pid = bpf_get_current_pid_tgid() >> 32;
	bpf_get_current_comm(e->comm, sizeof(e->comm));
}

static __always_inline void measured(void *ctx, __u32 vector, __u32 phase, __u64 ns)
{
	struct skl_softirq_key key = { .vector = vector, .phase = phase };

	skl_observe(&skl_durations, &key, ns);
	if (ns < skl_slow_ns)
		return;
	if (skl_stack_on) {
		struct softirq_stack_event *s = skl_reserve(&key.owner, 0, phase, sizeof(*s));

		if (!s)
			return;
		fill(&s->event, &key, ns);
		bpf_get_stack(ctx, s->stack, sizeof(s->stack), 0);
		bpf_ringbuf_submit(s, 0);
	} else {
		struct softirq_event *e = skl_reserve(&key.owner, 0, phase, sizeof(*e));

		if (!e)
			return;
		fill(e, &key, ns);
		bpf_ringbuf_submit(e, 0);
	}
}

static __always_inline int raised(__u32 vector)
{
	struct skl_times *t = times_of(vector);

	if (t && !t->raised)
		t->raised = bpf_ktime_get_ns();
	return 0;
}

static __always_inline int entered(void *ctx, __u32 vector)
{
	struct skl_times *t = times_of(vector);
	__u64 now, since;

	if (!t)
		return 0;
	now = bpf_ktime_get_ns();
	since = t->raised;
	t->raised = 0;
	t->entered = now;
	if (since && now > since)
		measured(ctx, vector, PHASE_SCHEDULE, now - since);
	return 0;
}

static __always_inline int left(void *ctx, __u32 vector)
{
	struct skl_times *t = times_of(vector);
	__u64 since;

	if (!t)
		return 0;
	since = t->entered;
	t->entered = 0;
	if (since)
		measured(ctx, vector, PHASE_EXECUTE, bpf_ktime_get_ns() - since);
	return 0;
}

SEC("tp_btf/softirq_raise")
int BPF_PROG(skl_raise, unsigned int vector)
{
	return raised(vector);
}

SEC("tp_btf/softirq_entry")
int BPF_PROG(skl_entry, unsigned int vector)
{
	return entered(ctx, vector);
}

SEC("tp_btf/softirq_exit")
int BPF_PROG(skl_exit, unsigned int vector)
{
	return left(ctx, vector);
}

SEC("raw_tp/softirq_raise")
int skl_raise_raw(struct bpf_raw_tracepoint_args *ctx)
{
	return raised((__u32)ctx->args[0]);
}

SEC("raw_tp/softirq_entry")
int skl_entry_raw(struct bpf_raw_tracepoint_args *ctx)
{
	return entered(ctx, (__u32)ctx->args[0]);
}

SEC("raw_tp/softirq_exit")
int skl_exit_raw(struct bpf_raw_tracepoint_args *ctx)
{
	return left(ctx, (__u32)ctx->args[0]);
}

char LICENSE[] SEC("license") = "GPL";
