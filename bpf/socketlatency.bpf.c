// SPDX-License-Identifier: GPL-2.0
/*
 * socketlatency: how long data waits in TCP sockets. Read: from the moment the socket wakes its reader until the process takes the
 * data. Write: from the moment the process writes until the first packet with that data is given to a device (a closed window, a
 * full congestion window and Nagle's algorithm show here).
 *
 * Hooks, read: sock:sk_data_ready (since v6.4; before: the function sock_def_readable) to tcp:tcp_rcv_space_adjust, which the kernel
 * calls when data was copied to the process. What was read is forgotten: an idle connection is never slow. Write: tcp:tcp_sendmsg_locked
 * (since v6.15; before: the function) to net:net_dev_queue of a packet whose sequence numbers go beyond what was there before the write.
 * Sockets that end are forgotten by tcp:tcp_destroy_sock.
 *
 * Cost: 100 ns for each wake-up, read, write and packet sent: off by default.
 * Cannot see: data a process reads in parts (the first part counts), data in flight on the network (tcprtt).
 */
#include "socketlatency.event.h"
#include "skl/hist.h"
#include "skl/owner.h"
#include "skl/tuple.h"
#include <bpf/bpf_tracing.h>

SKL_EVENT(socketlatency_event);

const volatile __u64 skl_slow_ns = 100000000;

enum skl_direction {
	DIRECTION_READ = 0,
	DIRECTION_WRITE = 1,
};

/* Since when a socket has had something to read. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 32768);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, __u64);
} skl_readable SEC(".maps");

struct skl_sent {
	__u64 since;
	__u32 seq; /* the first byte that was written */
	__u32 pid;
	skl_comm comm;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 32768);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct skl_sent);
} skl_written SEC(".maps");

struct skl_socklat_key {
	struct skl_owner owner;
	__u8 direction;
	__u8 family;
	__u8 _pad[6];
};

SKL_HIST_MAP(skl_waits, skl_socklat_key, 4096);

static __always_inline bool is_tcp(const struct sock *sk)
{
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);

	return (family == AF_INET || family == AF_INET6) && BPF_CORE_READ(sk, sk_protocol) == IPPROTO_TCP;
}

static __always_inline void measured(const struct sock *sk, __u8 direction, __u64 ns, __u32 pid, const char *comm)
{
	struct skl_socklat_key key = { .direction = direction };
	struct skl_tuple tuple = {};
	struct socketlatency_event *e;

	skl_owner_of_sock(&key.owner, sk);
	skl_tuple_of_sock(&tuple, sk, IPPROTO_TCP);
	key.family = tuple.family;
	skl_observe(&skl_waits, &key, ns);
	if (ns < skl_slow_ns)
		return;
	e = skl_reserve(&key.owner, skl_cgroup_of_sock(sk), direction, sizeof(*e));
	if (!e)
		return;
	e->tuple = tuple;
	e->latency_ns = ns;
	if (comm) {
		e->pid = pid;
		__builtin_memcpy(e->comm, comm, sizeof(e->comm));
	} else {
		e->pid = bpf_get_current_pid_tgid() >> 32;
		bpf_get_current_comm(e->comm, sizeof(e->comm));
	}
	bpf_ringbuf_submit(e, 0);
}

static __always_inline int readable(const struct sock *sk)
{
	__u64 id = (__u64)sk, now;
	long err;

	if (!is_tcp(sk) || BPF_CORE_READ(sk, __sk_common.skc_state) == BPF_TCP_LISTEN)
		return 0;
	now = bpf_ktime_get_ns();
	err = bpf_map_update_elem(&skl_readable, &id, &now, BPF_NOEXIST);
	if (err && err != -17 /* EEXIST: it has been waiting since before */)
		skl_count_full(SKL_FULL_STATE);
	return 0;
}

static __always_inline int was_read(const struct sock *sk)
{
	__u64 id = (__u64)sk, *since = bpf_map_lookup_elem(&skl_readable, &id), ns;

	if (!since)
		return 0;
	ns = bpf_ktime_get_ns() - *since;
	bpf_map_delete_elem(&skl_readable, &id);
	measured(sk, DIRECTION_READ, ns, 0, NULL);
	return 0;
}

static __always_inline int writes(const struct sock *sk)
{
	__u64 id = (__u64)sk;
	struct skl_sent w = {};

	if (!is_tcp(sk) || bpf_map_lookup_elem(&skl_written, &id))
		return 0;
	w.since = bpf_ktime_get_ns();
	w.seq = BPF_CORE_READ((const struct tcp_sock *)sk, write_seq);
	w.pid = bpf_get_current_pid_tgid() >> 32;
	bpf_get_current_comm(w.comm, sizeof(w.comm));
	if (bpf_map_update_elem(&skl_written, &id, &w, BPF_NOEXIST))
		skl_count_full(SKL_FULL_STATE);
	return 0;
}

/* Sequence number after the last byte of a packet that is about to leave. */
static __always_inline __u32 end_of(const struct sk_buff *skb)
{
	__u64 head = (__u64)BPF_CORE_READ(skb, head);
	__u32 offset = BPF_CORE_READ(skb, transport_header);
	const void *th = (const void *)(head + offset);
	__u32 before = head + offset - (__u64)BPF_CORE_READ(skb, data); /* link and network header */
	__be32 seq = 0;
	__u8 doff = 0;

	bpf_probe_read_kernel(&seq, sizeof(seq), th + 4);
	bpf_probe_read_kernel(&doff, sizeof(doff), th + 12);
	return bpf_ntohl(seq) + BPF_CORE_READ(skb, len) - before - (doff >> 4) * 4;
}

static __always_inline int leaves(const struct sk_buff *skb)
{
	const struct sock *sk = BPF_CORE_READ(skb, sk);
	__u64 id = (__u64)sk, ns;
	struct skl_sent *w, copy;

	if (!sk)
		return 0;
	w = bpf_map_lookup_elem(&skl_written, &id);
	if (!w || (__s32)(end_of(skb) - w->seq) <= 0)
		return 0;
	ns = bpf_ktime_get_ns() - w->since;
	copy = *w;
	bpf_map_delete_elem(&skl_written, &id);
	measured(sk, DIRECTION_WRITE, ns, copy.pid, copy.comm);
	return 0;
}

SEC("tp_btf/sk_data_ready")
int BPF_PROG(skl_ready, const struct sock *sk)
{
	return readable(sk);
}

SEC("fentry/sock_def_readable")
int BPF_PROG(skl_ready_fe, struct sock *sk)
{
	return readable(sk);
}

SEC("kprobe/sock_def_readable")
int BPF_KPROBE(skl_ready_kp, struct sock *sk)
{
	return readable(sk);
}

SEC("tp_btf/tcp_rcv_space_adjust")
int BPF_PROG(skl_read, struct sock *sk)
{
	return was_read(sk);
}

SEC("tp_btf/tcp_sendmsg_locked")
int BPF_PROG(skl_write, const struct sock *sk)
{
	return writes(sk);
}

SEC("fentry/tcp_sendmsg_locked")
int BPF_PROG(skl_write_fe, struct sock *sk)
{
	return writes(sk);
}

SEC("kprobe/tcp_sendmsg_locked")
int BPF_KPROBE(skl_write_kp, struct sock *sk)
{
	return writes(sk);
}

SEC("tp_btf/net_dev_queue")
int BPF_PROG(skl_leave, struct sk_buff *skb)
{
	return leaves(skb);
}

SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(skl_destroy, struct sock *sk)
{
	__u64 id = (__u64)sk;

	bpf_map_delete_elem(&skl_readable, &id);
	bpf_map_delete_elem(&skl_written, &id);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
