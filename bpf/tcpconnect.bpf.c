// SPDX-License-Identifier: GPL-2.0
/*
 * tcpconnect: how long connect() takes, how often it fails and with which error, and how many connections are accepted.
 *
 * Hook: the tracepoint sock:inet_sock_set_state, one call for each change of a TCP socket's state (since v4.16, 563e0bb0dc74
 * "net: tracepoint: replace tcp_set_state tracepoint with inet_sock_set_state tracepoint"). SYN_SENT is set in the process
 * that called connect(), so its name is known; the answer comes in a softirq. The socket's error is set before its state
 * becomes CLOSE in all paths that end an attempt (RST, ICMP, timer).
 *
 * Cost: 100 to 300 ns for each change of state, five to seven in the life of a connection; nothing for each packet.
 * Cannot see: attempts that fail before a SYN is made (no route, no local port): connect() returns those errors at once.
 */
#include "tcpconnect.event.h"
#include "skl/count.h"
#include "skl/hist.h"
#include "skl/owner.h"
#include "skl/tuple.h"
#include <bpf/bpf_tracing.h>

SKL_EVENT(tcpconnect_event);

struct skl_attempt {
	__u64 start;
	__u32 pid;
	__u32 _pad;
	skl_comm comm;
};

/* Attempts under way, by socket. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct skl_attempt);
} skl_attempts SEC(".maps");

struct skl_connect_key {
	struct skl_owner owner;
	__u32 error; /* of a failure; 0 otherwise */
	__u8 family;
	__u8 what; /* enum skl_what */
	__u8 _pad[2];
};

enum skl_what {
	WHAT_CONNECTED = 0,
	WHAT_FAILED = 1,
	WHAT_ACCEPTED = 2,
	WHAT_SYN_RETRANS = 3,
};

SKL_COUNTER_MAP(skl_counts, skl_connect_key, 8192);
SKL_HIST_MAP(skl_times, skl_connect_key, 2048);

static __always_inline void begin(const struct sock *sk)
{
	__u64 id = (__u64)sk;
	struct skl_attempt a = {};

	a.start = bpf_ktime_get_ns();
	a.pid = bpf_get_current_pid_tgid() >> 32;
	bpf_get_current_comm(a.comm, sizeof(a.comm));
	if (bpf_map_update_elem(&skl_attempts, &id, &a, BPF_ANY))
		skl_count_full(SKL_FULL_STATE);
}

static __always_inline void emit(const struct sock *sk, const struct skl_connect_key *key, const struct skl_tuple *tuple,
				 const struct skl_attempt *a, __u64 latency, __u32 retransmits)
{
	struct tcpconnect_event *e = skl_reserve(&key->owner, skl_cgroup_of_sock(sk), 0, sizeof(*e));

	if (!e)
		return;
	e->tuple = *tuple;
	e->latency_ns = latency;
	e->pid = a->pid;
	e->error = key->error;
	e->syn_retransmits = retransmits;
	__builtin_memcpy(e->comm, a->comm, sizeof(e->comm));
	bpf_ringbuf_submit(e, 0);
}

/* False when no attempt of this socket is known: it began before the probe was there, is a server's, or the map was full. */
static __always_inline bool end(const struct sock *sk, bool connected)
{
	__u64 id = (__u64)sk, latency;
	struct skl_attempt *a = bpf_map_lookup_elem(&skl_attempts, &id);
	struct skl_connect_key key = {};
	struct skl_tuple tuple = {};
	__u32 retransmits;

	if (!a)
		return false;
	latency = bpf_ktime_get_ns() - a->start;
	skl_owner_of_sock(&key.owner, sk);
	skl_tuple_of_sock(&tuple, sk, IPPROTO_TCP);
	key.family = tuple.family;
	retransmits = BPF_CORE_READ((const struct tcp_sock *)sk, total_retrans);
	if (retransmits) {
		key.what = WHAT_SYN_RETRANS;
		skl_add(&skl_counts, &key, retransmits);
	}
	key.what = connected ? WHAT_CONNECTED : WHAT_FAILED;
	if (connected) {
		skl_observe(&skl_times, &key, latency);
	} else {
		key.error = BPF_CORE_READ(sk, sk_err);
		skl_add(&skl_counts, &key, 1);
		emit(sk, &key, &tuple, a, latency, retransmits);
	}
	bpf_map_delete_elem(&skl_attempts, &id);
	return true;
}

static __always_inline void accepted(const struct sock *sk)
{
	struct skl_connect_key key = { .what = WHAT_ACCEPTED };
	struct skl_tuple tuple = {};

	skl_owner_of_sock(&key.owner, sk);
	skl_tuple_of_sock(&tuple, sk, IPPROTO_TCP);
	key.family = tuple.family;
	skl_add(&skl_counts, &key, 1);
}

/* States as in enum BPF_TCP_* of linux/bpf.h, which the kernel keeps equal to its own (net/core/filter.c). */
static __always_inline int change(const struct sock *sk, int from, int to)
{
	if (BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP)
		return 0;
	if (to == BPF_TCP_SYN_SENT)
		begin(sk);
	else if (from != BPF_TCP_SYN_SENT && from != BPF_TCP_SYN_RECV)
		return 0;
	else if (to == BPF_TCP_CLOSE)
		end(sk, false);
	/* two that connect to each other at once go through SYN_RECV as well: only who has no attempt has accepted */
	else if (to == BPF_TCP_ESTABLISHED && !end(sk, true))
		accepted(sk);
	return 0;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(skl_state, const struct sock *sk, int from, int to)
{
	return change(sk, from, to);
}

SEC("raw_tp/inet_sock_set_state")
int skl_state_raw(struct bpf_raw_tracepoint_args *ctx)
{
	return change((const struct sock *)ctx->args[0], (int)ctx->args[1], (int)ctx->args[2]);
}

char LICENSE[] SEC("license") = "GPL";
