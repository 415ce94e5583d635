// SPDX-License-Identifier: GPL-2.0
/*
 * virtcmdlatency: how long the hypervisor takes to answer a command of the virtio network driver (setting an address, a filter, the
 * number of queues). The driver spins on its CPU until the answer is there, with RTNL held: all network configuration of the node
 * stands still meanwhile.
 *
 * Hooks: entry and return of virtnet_send_command; newer kernels do the work in
 * virtnet_send_command_reply. The kernel has no tracepoint for it.
 *
 * Cost: nothing but for each command, and those are rare.
 * Cannot see: anything on kernels without kprobes or function tracing, and where the compiler inlined the function.
 */
#include "virtcmdlatency.event.h"
#include "skl/hist.h"
#include "skl/owner.h"
#include <bpf/bpf_tracing.h>

SKL_EVENT(virtcmdlatency_event);

const volatile __u64 skl_slow_ns = 10000000;

/* Since when a thread has been waiting for its command. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} skl_commands SEC(".maps");

struct skl_command_key {
	struct skl_owner owner; /* the node's: all zero */
};

SKL_HIST_MAP(skl_latency, skl_command_key, 8);

static __always_inline int begin(void)
{
	__u32 tid = bpf_get_current_pid_tgid();
	__u64 now = bpf_ktime_get_ns();

	if (bpf_map_update_elem(&skl_commands, &tid, &now, BPF_ANY))
		skl_count_full(SKL_FULL_STATE);
	return 0;
}

static __always_inline int end(void)
{
	__u32 tid = bpf_get_current_pid_tgid();
	__u64 *since = bpf_map_lookup_elem(&skl_commands, &tid), ns;
	struct skl_command_key key = {};
	struct virtcmdlatency_event *e;

	if (!since)
		return 0;
	ns = bpf_ktime_get_ns() - *since;
	bpf_map_delete_elem(&skl_commands, &tid);
	skl_observe(&skl_latency, &key, ns);
	if (ns < skl_slow_ns)
		return 0;
	e = skl_reserve(&key.owner, 0, 0, sizeof(*e));
	if (!e)
		return 0;
	e->latency_ns = ns;
	e->pid = bpf_get_current_pid_tgid() >> 32;
	e->cpu = bpf_get_smp_processor_id();
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	bpf_ringbuf_submit(e, 0);
	return 0;
}

SEC("kprobe/virtnet_send_command")
int skl_command(struct pt_regs *ctx)
{
	return begin();
}

SEC("kretprobe/virtnet_send_command")
int skl_answer(struct pt_regs *ctx)
{
	return end();
}

char LICENSE[] SEC("license") = "GPL";
