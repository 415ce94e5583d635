// SPDX-License-Identifier: GPL-2.0
/*
 * listen: whose accept queue or SYN queue is full. The kernel drops SYNs there without an event and without naming the socket:
 * only counters of the namespace move (ListenOverflows, TCPReqQFullDrop). This probe watches the queues fill instead.
 *
 * Hooks: inet_csk_complete_hashdance(), which puts each connection that finished its handshake into the queue, where functions can be watched:
 * nothing runs for a packet. Elsewhere the wake-up of the listener's process: sock:sk_data_ready (tracepoint since v6.4, 40e0b0908142
 * "net/sock: Introduce trace_sk_data_ready()"), which fires for the reader of any socket. A connection that
 * fills the queue is the last one that gets in, so the event comes once for each time the queue fills up. A full SYN queue is
 * seen when the kernel repeats a SYN-ACK of one of the requests in it, one second after they came at the earliest.
 *
 * Cost: 300 ns for each connection accepted; with the tracepoint a call for each wake-up of any socket's reader besides.
 * Cannot see: how many SYNs were dropped (TcpExt ListenOverflows and TCPReqQFullDrop of the same namespace count them); a SYN
 * queue that is full for less than a second; connections opened with TCP Fast Open, where the function is watched.
 */
#include "listen.event.h"
#include "skl/count.h"
#include "skl/owner.h"
#include "skl/sock.h"
#include "skl/tuple.h"
#include <bpf/bpf_tracing.h>

SKL_EVENT(listen_event);

enum skl_queue {
	QUEUE_ACCEPT = 0,
	QUEUE_SYN = 1,
};

enum skl_what {
	WHAT_QUEUED = 0,
	WHAT_ACCEPT_FULL = 1,
	WHAT_SYN_FULL = 2,
};

struct skl_listener_key {
	struct skl_owner owner;
	__u16 port;
	__u8 family; /* of the listening socket: a dual-stack one counts as 6 */
	__u8 what;
	__u32 _pad;
};

SKL_COUNTER_MAP(skl_listeners, skl_listener_key, 4096);

/* When a listener's full SYN queue was last told, by socket. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, __u64);
} skl_told SEC(".maps");

static __always_inline void key_of(struct skl_listener_key *key, const struct sock *sk)
{
	skl_owner_of_sock(&key->owner, sk);
	key->port = BPF_CORE_READ(sk, __sk_common.skc_num);
	key->family = BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET6 ? 6 : 4;
}

static __always_inline void emit(const struct sock *sk, const struct skl_owner *owner, __u16 type, __u32 length, __u32 limit)
{
	struct listen_event *e = skl_reserve(owner, skl_cgroup_of_sock(sk), type, sizeof(*e));

	if (!e)
		return;
	skl_tuple_of_sock(&e->tuple, sk, IPPROTO_TCP);
	e->inode = skl_inode_of_sock(sk);
	e->length = length;
	e->limit = limit;
	bpf_ringbuf_submit(e, 0);
}

/* `joins` = connections that are on their way into the queue and not counted in it yet. */
static __always_inline int queued(const struct sock *sk, __u32 joins)
{
	struct skl_listener_key key = {};
	__u32 length, limit;

	if (BPF_CORE_READ(sk, __sk_common.skc_state) != BPF_TCP_LISTEN || BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP)
		return 0;
	key_of(&key, sk);
	key.what = WHAT_QUEUED;
	skl_add(&skl_listeners, &key, 1);
	length = BPF_CORE_READ(sk, sk_ack_backlog) + joins;
	limit = BPF_CORE_READ(sk, sk_max_ack_backlog);
	if (length <= limit) /* as sk_acceptq_is_full(): one more than the backlog gets in */
		return 0;
	key.what = WHAT_ACCEPT_FULL;
	skl_add(&skl_listeners, &key, 1);
	emit(sk, &key.owner, QUEUE_ACCEPT, length, limit);
	return 0;
}

/* As tcp_conn_request() decides: full by the backlog, or, without cookies, when the last quarter of tcp_max_syn_backlog is in use. */
static __always_inline __u32 syn_limit(const struct sock *sk, __u32 length)
{
	struct net *net = BPF_CORE_READ(sk, __sk_common.skc_net.net);
	__u32 backlog = BPF_CORE_READ(sk, sk_max_ack_backlog);
	__u32 most = BPF_CORE_READ(net, ipv4.sysctl_max_syn_backlog);

	if (length >= backlog)
		return backlog;
	if (!BPF_CORE_READ(net, ipv4.sysctl_tcp_syncookies) && (length >= most || most - length < most >> 2))
		return most;
	return 0;
}

static __always_inline int synack(const struct sock *sk)
{
	struct skl_listener_key key = { .what = WHAT_SYN_FULL };
	__u64 id = (__u64)sk, now = bpf_ktime_get_ns(), *last;
	__u32 length = BPF_CORE_READ((const struct inet_connection_sock *)sk, icsk_accept_queue.qlen.counter);
	__u32 limit = syn_limit(sk, length);

	if (!limit || BPF_CORE_READ(sk, __sk_common.skc_state) != BPF_TCP_LISTEN)
		return 0;
	/* once a second for a listener: every request in its queue comes by here */
	last = bpf_map_lookup_elem(&skl_told, &id);
	if (last && now - *last < 1000000000ULL)
		return 0;
	bpf_map_update_elem(&skl_told, &id, &now, BPF_ANY);
	key_of(&key, sk);
	skl_add(&skl_listeners, &key, 1);
	emit(sk, &key.owner, QUEUE_SYN, length, limit);
	return 0;
}

/* Without own_req (a bool: of the register only the lowest byte counts) another CPU has made the connection already; this one is thrown away. */
SEC("fentry/inet_csk_complete_hashdance")
int BPF_PROG(skl_join_fentry, struct sock *sk, struct sock *child, struct request_sock *req, unsigned long own_req)
{
	return (own_req & 0xff) ? queued(sk, 1) : 0;
}

SEC("kprobe/inet_csk_complete_hashdance")
int BPF_KPROBE(skl_join_kp, struct sock *sk, struct sock *child, struct request_sock *req, unsigned long own_req)
{
	return (own_req & 0xff) ? queued(sk, 1) : 0;
}

SEC("tp_btf/sk_data_ready")
int BPF_PROG(skl_ready, const struct sock *sk)
{
	return queued(sk, 0);
}

SEC("tp_btf/tcp_retransmit_synack")
int BPF_PROG(skl_synack, const struct sock *sk, const struct request_sock *req)
{
	return synack(sk);
}

SEC("raw_tp/tcp_retransmit_synack")
int skl_synack_raw(struct bpf_raw_tracepoint_args *ctx)
{
	return synack((const struct sock *)ctx->args[0]);
}

char LICENSE[] SEC("license") = "GPL";
