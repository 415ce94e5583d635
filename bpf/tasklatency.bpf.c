// SPDX-License-Identifier: GPL-2.0
/*
 * tasklatency: how long the tasks of pods wait for a CPU once they are ready to run. Was it the network, or was the pod not running?
 *
 * Hooks: the tracepoints sched:sched_wakeup, sched:sched_wakeup_new and sched:sched_switch (prev_state is their last argument since
 * v5.19, 9c2136be0878 "sched/tracing: Append prev_state to tp args instead"). A task that is switched out while it could go on
 * (preempted) waits from then on. Tasks of the node's own network namespace are left out unless asked for.
 *
 * Cost: 150 ns for each wake-up and 250 ns for each switch of a CPU, of any task: off by default.
 * Cannot see: waiting that began before the probe was there; CPU bandwidth throttling shows as waiting.
 */
#include "tasklatency.event.h"
#include "skl/hist.h"
#include "skl/owner.h"
#include <bpf/bpf_tracing.h>

SKL_EVENT(tasklatency_event);

const volatile __u64 skl_slow_ns = 100000000;
/* Network namespace whose tasks are left out; 0 = none. */
const volatile __u32 skl_left_out = 0;

/* Since when a task has been waiting, by thread id. Preallocated: the scheduler is no place to ask for memory. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, __u64);
} skl_ready SEC(".maps");

struct skl_task_key {
	struct skl_owner owner;
};

SKL_HIST_MAP(skl_run_delay, skl_task_key, 2048);

static __always_inline bool watched(struct skl_owner *owner, const struct task_struct *task)
{
	return skl_owner_of_task(owner, task) && owner->netns != skl_left_out;
}

static __always_inline int ready(const struct task_struct *task)
{
	struct skl_owner owner = {};
	__u32 tid = BPF_CORE_READ(task, pid);
	__u64 now;

	if (!tid || !watched(&owner, task))
		return 0;
	now = bpf_ktime_get_ns();
	if (bpf_map_update_elem(&skl_ready, &tid, &now, BPF_ANY))
		skl_count_full(SKL_FULL_STATE);
	return 0;
}

static __always_inline void emit(const struct skl_owner *owner, const struct task_struct *next, const struct task_struct *prev,
				 __u64 ns)
{
	struct tasklatency_event *e = skl_reserve(owner, skl_cgroup_of_task(next), 0, sizeof(*e));

	if (!e)
		return;
	e->latency_ns = ns;
	e->pid = BPF_CORE_READ(next, tgid);
	e->tid = BPF_CORE_READ(next, pid);
	e->cpu = bpf_get_smp_processor_id();
	BPF_CORE_READ_STR_INTO(&e->comm, next, comm);
	BPF_CORE_READ_STR_INTO(&e->before, prev, comm);
	bpf_ringbuf_submit(e, 0);
}

SEC("tp_btf/sched_wakeup")
int BPF_PROG(skl_wakeup, struct task_struct *task)
{
	return ready(task);
}

SEC("tp_btf/sched_wakeup_new")
int BPF_PROG(skl_wakeup_new, struct task_struct *task)
{
	return ready(task);
}

SEC("tp_btf/sched_switch")
int BPF_PROG(skl_switch, bool preempt, struct task_struct *prev, struct task_struct *next, unsigned int prev_state)
{
	struct skl_task_key key = {};
	__u32 tid = BPF_CORE_READ(next, pid);
	__u64 *since, ns;

	if (preempt || prev_state == 0 /* TASK_RUNNING */)
		ready(prev);
	if (!tid)
		return 0;
	since = bpf_map_lookup_elem(&skl_ready, &tid);
	if (!since)
		return 0;
	ns = bpf_ktime_get_ns() - *since;
	bpf_map_delete_elem(&skl_ready, &tid);
	if (!watched(&key.owner, next))
		return 0;
	skl_observe(&skl_run_delay, &key, ns);
	if (ns >= skl_slow_ns)
		emit(&key.owner, next, prev, ns);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
