// SPDX-License-Identifier: GPL-2.0
/*
 * biolatency: how long block devices take. A process that waits for its disk does not read its sockets, and looks like a slow network.
 *
 * Hooks: the tracepoints block:block_rq_issue (one argument since v5.11, a54895fa057c "block: remove the request_queue to argument
 * request based tracepoints") and block:block_rq_complete. The process is the one that gave the request to the driver: for
 * buffered writes that is the kernel's writeback, not who wrote.
 *
 * Cost: 300 ns for each request.
 * Cannot see: the time a request waits in the I/O scheduler before it is issued.
 */
#include "biolatency.event.h"
#include "skl/hist.h"
#include "skl/owner.h"
#include <bpf/bpf_tracing.h>

SKL_EVENT(biolatency_event);

#define OPERATION_MASK 0xff /* REQ_OP_MASK, include/linux/blk_types.h */

const volatile __u64 skl_slow_ns = 10000000;

struct skl_request {
	struct skl_owner owner;
	__u64 since;
	__u64 cgroup;
	__u32 pid;
	__u32 _pad;
	skl_comm comm;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64);
	__type(value, struct skl_request);
} skl_requests SEC(".maps");

struct skl_bio_key {
	struct skl_owner owner; /* the node's: all zero */
	__u32 operation;
	__u32 _pad;
	char disk[32];
};

SKL_HIST_MAP(skl_latency, skl_bio_key, 512);

SEC("tp_btf/block_rq_issue")
int BPF_PROG(skl_issue, struct request *rq)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct skl_request r = {};
	__u64 id = (__u64)rq;

	skl_owner_of_task(&r.owner, task);
	r.cgroup = skl_cgroup_of_task(task);
	r.since = bpf_ktime_get_ns();
	r.pid = bpf_get_current_pid_tgid() >> 32;
	bpf_get_current_comm(r.comm, sizeof(r.comm));
	if (bpf_map_update_elem(&skl_requests, &id, &r, BPF_ANY))
		skl_count_full(SKL_FULL_STATE);
	return 0;
}

SEC("tp_btf/block_rq_complete")
int BPF_PROG(skl_complete, struct request *rq, unsigned int error, unsigned int bytes)
{
	__u64 id = (__u64)rq, ns;
	struct skl_request *r = bpf_map_lookup_elem(&skl_requests, &id);
	struct skl_bio_key key = {};
	struct biolatency_event *e;

	if (!r || bytes < BPF_CORE_READ(rq, __data_len)) /* not ours, or only a part is done */
		return 0;
	ns = bpf_ktime_get_ns() - r->since;
	key.operation = BPF_CORE_READ(rq, cmd_flags) & OPERATION_MASK;
	BPF_CORE_READ_STR_INTO(&key.disk, rq, q, disk, disk_name);
	skl_observe(&skl_latency, &key, ns);
	if (ns >= skl_slow_ns) {
		e = skl_reserve(&r->owner, r->cgroup, 0, sizeof(*e));
		if (e) {
			e->latency_ns = ns;
			e->bytes = bytes;
			e->operation = key.operation;
			e->pid = r->pid;
			__builtin_memcpy(e->comm, r->comm, sizeof(e->comm));
			__builtin_memcpy(e->disk, key.disk, sizeof(e->disk));
			bpf_ringbuf_submit(e, 0);
		}
	}
	bpf_map_delete_elem(&skl_requests, &id);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
