// SPDX-License-Identifier: GPL-2.0
/*
 * netiftxlat: how long packets wait to leave: in the queueing discipline of an interface (bufferbloat, a bandwidth limit that is too
 * small) and in the driver's transmit function.
 *
 * Hooks: the tracepoints qdisc:qdisc_enqueue (since v5.14) and qdisc:qdisc_dequeue. They fire only where there is a queue: veth
 * without a qdisc costs nothing. Older kernels: net:net_dev_queue to net:net_dev_start_xmit, for every packet of every interface.
 * Driver: net:net_dev_start_xmit to net:net_dev_xmit, same CPU, no packet in between; only when asked for. Packets that are
 * dropped while they wait are forgotten by skb:kfree_skb.
 *
 * Cost: 250 ns for each packet queued; driver: 120 ns for each packet sent.
 * Cannot see: GSO packets that the discipline cuts up (tbf does when they are larger than its burst): the parts are other packets.
 */
#include "netiftxlat.event.h"
#include "skl/hist.h"
#include "skl/owner.h"
#include "skl/tuple.h"
#include <bpf/bpf_tracing.h>

SKL_EVENT(netiftxlat_event);

const volatile __u64 skl_slow_ns = 100000000;

enum skl_where {
	WHERE_QDISC = 0,
	WHERE_XMIT = 1,
};

struct skl_wait {
	__u64 since;
	__u32 length; /* with the address it tells a packet from a later one in the same memory */
	__u32 _pad;
};

/* Packets that wait, by address. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, struct skl_wait);
} skl_waiting SEC(".maps");

struct skl_sending {
	__u64 skb;
	__u64 since;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct skl_sending);
} skl_driver SEC(".maps");

struct skl_txlat_key {
	struct skl_owner owner;
	__u32 where;
	__u32 ifindex;
	skl_ifname ifname;
};

SKL_HIST_MAP(skl_waits, skl_txlat_key, 2048);

/* `skb` NULL = it is the driver's by now and may be freed: addresses stay unknown. */
static __always_inline void measured(const struct sk_buff *skb, const struct net_device *dev, __u32 where, __u64 ns,
				     __u32 length)
{
	struct skl_txlat_key key = { .where = where };
	struct netiftxlat_event *e;
	struct skl_l4 l4 = {};

	skl_owner_of_dev(&key.owner, dev);
	key.ifindex = BPF_CORE_READ(dev, ifindex);
	BPF_CORE_READ_STR_INTO(&key.ifname, dev, name);
	skl_observe(&skl_waits, &key, ns);
	if (ns < skl_slow_ns)
		return;
	e = skl_reserve(&key.owner, skb ? skl_cgroup_of_sock(BPF_CORE_READ(skb, sk)) : 0, where, sizeof(*e));
	if (!e)
		return;
	if (skb)
		skl_tuple_of_skb(&e->tuple, &l4, skb);
	e->latency_ns = ns;
	e->ifindex = key.ifindex;
	e->length = length;
	__builtin_memcpy(e->ifname, key.ifname, sizeof(e->ifname));
	bpf_ringbuf_submit(e, 0);
}

static __always_inline int queued(const struct sk_buff *skb)
{
	__u64 id = (__u64)skb;
	struct skl_wait w = {};

	w.since = bpf_ktime_get_ns();
	w.length = BPF_CORE_READ(skb, len);
	bpf_map_update_elem(&skl_waiting, &id, &w, BPF_ANY);
	return 0;
}

static __always_inline int unqueued(const struct sk_buff *skb, const struct net_device *dev)
{
	__u64 id = (__u64)skb;
	struct skl_wait *w = bpf_map_lookup_elem(&skl_waiting, &id);
	__u64 since;

	if (!w)
		return 0;
	since = w->length == BPF_CORE_READ(skb, len) ? w->since : 0;
	bpf_map_delete_elem(&skl_waiting, &id);
	if (since)
		measured(skb, dev, WHERE_QDISC, bpf_ktime_get_ns() - since, BPF_CORE_READ(skb, len));
	return 0;
}

/* A driver that can take several packets at once gets them as a list, and the tracepoint fires for its first one only. */
#define BULK_MAX 16

SEC("tp_btf/qdisc_enqueue")
int BPF_PROG(skl_enqueue, struct Qdisc *qdisc, const struct netdev_queue *txq, struct sk_buff *skb)
{
	return queued(skb);
}

SEC("tp_btf/qdisc_dequeue")
int BPF_PROG(skl_dequeue, struct Qdisc *qdisc, const struct netdev_queue *txq, int packets, struct sk_buff *skb)
{
	const struct net_device *dev = BPF_CORE_READ(txq, dev);

	for (int i = 0; i < BULK_MAX && i < packets && skb; i++) {
		struct sk_buff *next = BPF_CORE_READ(skb, next);

		unqueued(skb, dev);
		skb = next;
	}
	return 0; /* no skb: asked, and had nothing to give */
}

SEC("tp_btf/net_dev_queue")
int BPF_PROG(skl_dev_queue, struct sk_buff *skb)
{
	return queued(skb);
}

SEC("tp_btf/net_dev_start_xmit")
int BPF_PROG(skl_dev_start, const struct sk_buff *skb, const struct net_device *dev)
{
	return unqueued(skb, dev);
}

SEC("tp_btf/kfree_skb")
int BPF_PROG(skl_dropped, struct sk_buff *skb)
{
	__u64 id = (__u64)skb;

	bpf_map_delete_elem(&skl_waiting, &id);
	return 0;
}

SEC("tp_btf/net_dev_start_xmit")
int BPF_PROG(skl_send, const struct sk_buff *skb, const struct net_device *dev)
{
	__u32 zero = 0;
	struct skl_sending *s = bpf_map_lookup_elem(&skl_driver, &zero);

	if (s) {
		s->skb = (__u64)skb;
		s->since = bpf_ktime_get_ns();
	}
	return 0;
}

/* veth hands the packet on inside its transmit function, so another one may be sent meanwhile on this CPU: only its own end counts. */
SEC("tp_btf/net_dev_xmit")
int BPF_PROG(skl_sent, struct sk_buff *skb, int rc, struct net_device *dev, unsigned int length)
{
	__u32 zero = 0;
	struct skl_sending *s = bpf_map_lookup_elem(&skl_driver, &zero);
	__u64 since;

	if (!s || s->skb != (__u64)skb)
		return 0;
	since = s->since;
	s->skb = 0;
	measured(NULL, dev, WHERE_XMIT, bpf_ktime_get_ns() - since, length);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
