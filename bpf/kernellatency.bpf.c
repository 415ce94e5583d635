// SPDX-License-Identifier: GPL-2.0
/*
 * kernellatency: how long packets with data are inside the kernel: received, from the device's hand-over to the socket; transmitted, from
 * the socket to the device's queue. Long firewall chains, packets held by user space (NFQUEUE), a socket locked by a process that does not
 * run, and slow routing show here.
 *
 * Hooks, receive: net:netif_receive_skb to tcp:tcp_probe (segments of established connections) and, for datagrams, to
 * __udp_enqueue_schedule_skb or, where functions cannot be watched, sock:sk_data_ready (since v6.4), whose datagram is the last of the queue.
 * Transmit: net:net_dev_queue. TCP itself stamps each segment with the time it is sent (skb->tstamp, CLOCK_MONOTONIC, since v4.20: d3edd06ea8ea),
 * so nothing has to be remembered; datagrams carry no stamp and need ip_send_skb and ip6_send_skb to be watched. Stages of IP: the functions
 * before and after each netfilter hook.
 *
 * A packet is known by its address and the address of its bytes: what another packet in the same memory left is not taken for it. Packets
 * that are dropped are forgotten by skb:kfree_skb; those that go elsewhere are overwritten or evicted.
 *
 * Cost: 100 ns for each packet that a device hands over, 230 ns when it reaches a TCP socket, 150 ns for each one sent: off by default.
 * Cannot see: time before netif_receive_skb (softirq), in queueing disciplines (netiftxlat), in sockets (socketlatency); clones that a
 * packet tap leaves; IP fragments after the first.
 */
#include "kernellatency.event.h"
#include "skl/hist.h"
#include "skl/owner.h"
#include "skl/tuple.h"
#include <bpf/bpf_tracing.h>

SKL_EVENT(kernellatency_event);

const volatile __u64 skl_slow_ns = 10000000;

/* A stamp that is further back is no stamp. */
#define STAMP_MAX_NS 60000000000ULL

enum skl_direction {
	DIRECTION_RECEIVE = 0,
	DIRECTION_TRANSMIT = 1,
};

enum skl_stage {
	STAGE_ROUTING = 0, /* ip_rcv_finish */
	STAGE_LOCAL = 1, /* ip_local_deliver, ip_output */
	STAGE_DELIVERY = 2, /* ip_local_deliver_finish */
	STAGES = 3,
};

struct skl_passage {
	__u64 since; /* 0 = the start was not seen, stages only */
	__u64 bytes; /* skb->head */
	__u64 stage[STAGES];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, struct skl_passage);
} skl_received SEC(".maps");

/* Filled where functions can be watched only. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, struct skl_passage);
} skl_sent SEC(".maps");

/* The packet this CPU saw last: one that goes through several devices is measured at the first. */
struct skl_last {
	__u64 skb;
	__u64 stamp;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct skl_last);
} skl_latest SEC(".maps");

struct skl_klat_key {
	struct skl_owner owner;
	__u8 direction;
	__u8 family;
	__u8 proto;
	__u8 _pad[5];
};

SKL_HIST_MAP(skl_passages, skl_klat_key, 8192);

static __always_inline __u64 between(__u64 from, __u64 to)
{
	return from && to > from ? to - from : 0;
}

static __always_inline void measured(const struct sk_buff *skb, const struct sock *sk, __u8 direction, __u64 ns,
				     const struct skl_passage *p)
{
	struct skl_klat_key key = { .direction = direction };
	struct kernellatency_event *e;
	struct skl_tuple tuple = {};
	struct skl_l4 l4 = {};

	skl_owner_of_sock(&key.owner, sk);
	skl_tuple_of_skb(&tuple, &l4, skb);
	key.family = tuple.family;
	key.proto = tuple.proto;
	skl_observe(&skl_passages, &key, ns);
	if (ns < skl_slow_ns)
		return;
	e = skl_reserve(&key.owner, skl_cgroup_of_sock(sk), direction, sizeof(*e));
	if (!e)
		return;
	e->tuple = tuple;
	e->latency_ns = ns;
	e->length = BPF_CORE_READ(skb, len);
	if (p) {
		e->routing_ns = between(p->since, p->stage[STAGE_ROUTING]);
		e->local_ns = between(p->since, p->stage[STAGE_LOCAL]);
		e->delivery_ns = between(p->since, p->stage[STAGE_DELIVERY]);
	}
	bpf_ringbuf_submit(e, 0);
}

SEC("tp_btf/netif_receive_skb")
int BPF_PROG(skl_arrive, struct sk_buff *skb)
{
	struct skl_passage p = {};
	__u64 id = (__u64)skb;

	if (skb->protocol != bpf_htons(ETH_P_IP) && skb->protocol != bpf_htons(ETH_P_IPV6))
		return 0;
	p.since = bpf_ktime_get_ns();
	p.bytes = (__u64)skb->head;
	bpf_map_update_elem(&skl_received, &id, &p, BPF_ANY);
	return 0;
}

/* `data` = whether it carries any: what does not is forgotten unmeasured. */
static __always_inline int delivered(const struct sock *sk, const struct sk_buff *skb, bool data)
{
	__u64 id = (__u64)skb, now;
	struct skl_passage *found = bpf_map_lookup_elem(&skl_received, &id), p;

	if (!found)
		return 0;
	p = *found;
	bpf_map_delete_elem(&skl_received, &id);
	if (!data || p.bytes != (__u64)BPF_CORE_READ(skb, head))
		return 0;
	now = bpf_ktime_get_ns();
	measured(skb, sk, DIRECTION_RECEIVE, between(p.since, now), &p);
	return 0;
}

/* tcp_rcv_established: the TCP header is what is left in front of the data. */
SEC("tp_btf/tcp_probe")
int BPF_PROG(skl_segment, struct sock *sk, const struct sk_buff *skb)
{
	__u8 offset = 0;

	bpf_probe_read_kernel(&offset, 1, skb->data + 12);
	return delivered(sk, skb, skb->len > (offset >> 4) * 4);
}

SEC("fentry/__udp_enqueue_schedule_skb")
int BPF_PROG(skl_datagram_fe, struct sock *sk, struct sk_buff *skb)
{
	return delivered(sk, skb, true);
}

SEC("kprobe/__udp_enqueue_schedule_skb")
int BPF_KPROBE(skl_datagram_kp, struct sock *sk, struct sk_buff *skb)
{
	return delivered(sk, skb, true);
}

SEC("tp_btf/sk_data_ready")
int BPF_PROG(skl_datagram, const struct sock *sk)
{
	__u16 family = sk->__sk_common.skc_family;

	if (sk->sk_protocol != IPPROTO_UDP || (family != AF_INET && family != AF_INET6))
		return 0;
	return delivered(sk, sk->sk_receive_queue.prev, true);
}

SEC("tp_btf/kfree_skb")
int BPF_PROG(skl_dropped, struct sk_buff *skb)
{
	__u64 id = (__u64)skb;

	bpf_map_delete_elem(&skl_received, &id);
	return 0;
}

/* Whether a segment that is about to leave carries data: pure ACKs bear the time of what they acknowledge. */
static __always_inline bool carries_data(const struct sk_buff *skb)
{
	__u64 th = (__u64)skb->head + skb->transport_header;
	__u8 offset = 0;

	bpf_probe_read_kernel(&offset, 1, (const void *)th + 12);
	return skb->len > th - (__u64)skb->data + (offset >> 4) * 4;
}

static __always_inline bool first_device(const struct sk_buff *skb, __u64 stamp)
{
	__u32 zero = 0;
	struct skl_last *last = bpf_map_lookup_elem(&skl_latest, &zero);

	if (!last || (last->skb == (__u64)skb && last->stamp == stamp))
		return false;
	last->skb = (__u64)skb;
	last->stamp = stamp;
	return true;
}

SEC("tp_btf/net_dev_queue")
int BPF_PROG(skl_leave, struct sk_buff *skb)
{
	struct skl_passage *found, p = {};
	struct sock *sk = skb->sk;
	__u64 id = (__u64)skb, now, stamp;

	/* the reference to the socket stays while a packet crosses into another namespace: there it was measured already */
	if (!sk || sk->__sk_common.skc_net.net != skb->dev->nd_net.net)
		return 0;
	found = bpf_map_lookup_elem(&skl_sent, &id);
	if (found) {
		p = *found;
		bpf_map_delete_elem(&skl_sent, &id);
		if (p.bytes != (__u64)skb->head)
			__builtin_memset(&p, 0, sizeof(p));
	}
	if (!skl_full_sock(sk))
		return 0;
	now = bpf_ktime_get_ns();
	if (sk->sk_protocol == IPPROTO_TCP) {
		stamp = skb->tstamp;
		if (!stamp || now - stamp > STAMP_MAX_NS) {
			/* in the future = held back on purpose by pacing */
			if (!stamp || stamp - now > STAMP_MAX_NS)
				return 0;
			now = stamp;
		}
		if (!carries_data(skb) || !first_device(skb, stamp))
			return 0;
		p.since = stamp;
	} else if (!p.since) {
		return 0;
	}
	measured(skb, sk, DIRECTION_TRANSMIT, now - p.since, &p);
	return 0;
}

static __always_inline int passes(const struct sk_buff *skb, __u32 stage)
{
	__u64 id = (__u64)skb;
	struct skl_passage *p = bpf_map_lookup_elem(&skl_received, &id);

	if (p && stage < STAGES)
		p->stage[stage] = bpf_ktime_get_ns();
	return 0;
}

/* A datagram begins its way. */
static __always_inline int sends(const struct sk_buff *skb)
{
	struct skl_passage p = {};
	__u64 id = (__u64)skb;

	p.since = bpf_ktime_get_ns();
	p.bytes = (__u64)BPF_CORE_READ(skb, head);
	bpf_map_update_elem(&skl_sent, &id, &p, BPF_ANY);
	return 0;
}

/* Through LOCAL_OUT. The start of a segment is in its stamp, so that it may have no entry yet; forwarded packets have no socket. */
static __always_inline int leaves_local(const struct sk_buff *skb)
{
	struct skl_passage p = {}, *found;
	__u64 id = (__u64)skb, bytes = (__u64)BPF_CORE_READ(skb, head);

	if (!BPF_CORE_READ(skb, sk))
		return 0;
	found = bpf_map_lookup_elem(&skl_sent, &id);
	if (found && found->bytes == bytes) {
		found->stage[STAGE_LOCAL] = bpf_ktime_get_ns();
		return 0;
	}
	p.bytes = bytes;
	p.stage[STAGE_LOCAL] = bpf_ktime_get_ns();
	bpf_map_update_elem(&skl_sent, &id, &p, BPF_ANY);
	return 0;
}

/* One program for each function and way to watch it; the packet is the first or the third argument. */
#define WATCH_1(name_, function_, action_)                                                       \
	SEC("fentry/" function_) int BPF_PROG(name_##_fe, struct sk_buff *skb) { return action_; } \
	SEC("kprobe/" function_) int BPF_KPROBE(name_##_kp, struct sk_buff *skb) { return action_; }
#define WATCH_2(name_, function_, action_)                                                                        \
	SEC("fentry/" function_) int BPF_PROG(name_##_fe, struct net *net, struct sk_buff *skb) { return action_; } \
	SEC("kprobe/" function_) int BPF_KPROBE(name_##_kp, struct net *net, struct sk_buff *skb) { return action_; }
#define WATCH_3(name_, function_, action_)                                                               \
	SEC("fentry/" function_)                                                                         \
	int BPF_PROG(name_##_fe, struct net *net, struct sock *sk, struct sk_buff *skb) { return action_; } \
	SEC("kprobe/" function_)                                                                         \
	int BPF_KPROBE(name_##_kp, struct net *net, struct sock *sk, struct sk_buff *skb) { return action_; }

WATCH_3(skl_rcv4, "ip_rcv_finish", passes(skb, STAGE_ROUTING))
WATCH_1(skl_loc4, "ip_local_deliver", passes(skb, STAGE_LOCAL))
WATCH_3(skl_fin4, "ip_local_deliver_finish", passes(skb, STAGE_DELIVERY))
WATCH_3(skl_rcv6, "ip6_rcv_finish", passes(skb, STAGE_ROUTING))
WATCH_1(skl_loc6, "ip6_input", passes(skb, STAGE_LOCAL))
WATCH_3(skl_fin6, "ip6_input_finish", passes(skb, STAGE_DELIVERY))
WATCH_3(skl_out4, "ip_output", leaves_local(skb))
WATCH_3(skl_out6, "ip6_output", leaves_local(skb))
WATCH_2(skl_snd4, "ip_send_skb", sends(skb))
WATCH_1(skl_snd6, "ip6_send_skb", sends(skb))

char LICENSE[] SEC("license") = "GPL";
