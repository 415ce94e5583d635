// SPDX-License-Identifier: GPL-2.0
/*
 * flow: bytes and packets by peer, for each network namespace. Counted at the interfaces of pods' own namespaces (all but lo), and on
 * the node at the interfaces that are named: whose packet it is follows from the device, never from an address.
 *
 * Hooks: the tracepoints net:net_dev_start_xmit (a packet is given to the driver: after queueing disciplines and segmentation) and
 * net:netif_receive_skb (after GRO), both with BTF since v5.5. Nothing has to be attached to each interface, so new pods are counted
 * from their first packet and nobody's filters are touched.
 *
 * Packets and bytes are those of the interface's own counters (a GSO packet is one packet; bytes from the link header on); a NIC that
 * merges received segments has counted them one by one before.
 *
 * Cost: 20 ns for each packet of an interface that is not counted, 125 ns for each that is: off by default.
 * Cannot see: packets that XDP or a TCX program takes away or redirects before, and what a driver drops after it took it.
 */
#include "skl/count.h"
#include "skl/owner.h"
#include "skl/tuple.h"
#include <bpf/bpf_tracing.h>

SKL_EVENT(skl_head);

const volatile __u32 skl_node_netns = 0;
const volatile __u8 skl_pods = 1; /* count in namespaces other than the node's */
const volatile __u8 skl_node = 0; /* count at the node's interfaces that match skl_names */
const volatile __u8 skl_ports = 0; /* one entry for each pair of ports */

#define SKL_NAMES 16

/* Names of interfaces as two words, of which the bits of the mask count: a name with its closing 0, or the start of one. */
struct skl_name {
	__u64 word[2];
	__u64 mask[2];
	__u32 used;
	__u32 _pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SKL_NAMES);
	__type(key, __u32);
	__type(value, struct skl_name);
} skl_names SEC(".maps");

struct skl_flow_key {
	struct skl_owner owner;
	struct skl_tuple tuple;
	__u32 transmit;
	__u32 _pad;
};

struct skl_traffic {
	__u64 bytes;
	__u64 packets;
	__u64 last; /* ktime of the last packet */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 8192);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct skl_flow_key);
	__type(value, struct skl_traffic);
} skl_flows SEC(".maps");

struct skl_rest_key {
	struct skl_owner owner;
	__u32 transmit;
	__u32 _pad;
};

/* What found no room in skl_flows. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct skl_rest_key);
	__type(value, struct skl_traffic);
} skl_rest SEC(".maps");

/* Flows that were idle and left skl_flows: written by user space only. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct skl_rest_key);
	__type(value, struct skl_traffic);
} skl_ended SEC(".maps");

static __always_inline bool named(const struct net_device *dev)
{
	__u64 name[2];

	if (bpf_probe_read_kernel(name, sizeof(name), dev->name))
		return false;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < SKL_NAMES; i++) {
		__u32 at = i;
		struct skl_name *n = bpf_map_lookup_elem(&skl_names, &at);

		if (!n || !n->used)
			return false;
		if (!(((name[0] ^ n->word[0]) & n->mask[0]) | ((name[1] ^ n->word[1]) & n->mask[1])))
			return true;
	}
	return false;
}

/* Whether this interface counts; fills the owner. Read through typed pointers: no call for packets that do not count. */
static __always_inline bool counted(const struct net_device *dev, struct skl_owner *owner)
{
	struct net *net = dev->nd_net.net;
	__u32 netns = net->ns.inum;

	if (netns == skl_node_netns) {
		if (!skl_node || !named(dev))
			return false;
	} else if (!skl_pods || dev->ifindex == 1 /* lo, in every namespace */) {
		return false;
	}
	owner->netns = netns;
	owner->cookie = skl_net_cookie(net);
	return true;
}

/* Both addresses and the protocol; of the rest only what is wanted. */
static __always_inline void tuple_of(struct skl_tuple *t, __be16 protocol, const void *nh)
{
	struct skl_l4 l4 = {};

	if (protocol == bpf_htons(ETH_P_IPV6)) {
		skl_parse_v6(t, &l4, nh);
	} else if (protocol == bpf_htons(ETH_P_IP) && skl_ports) {
		skl_parse_v4(t, &l4, nh);
	} else if (protocol == bpf_htons(ETH_P_IP)) {
		struct {
			__u32 words[5];
		} ip;

		if (bpf_probe_read_kernel(&ip, sizeof(ip), nh))
			return;
		t->family = 4;
		t->proto = bpf_ntohl(ip.words[2]) >> 16;
		*(__u32 *)t->saddr = ip.words[3];
		*(__u32 *)t->daddr = ip.words[4];
	}
	if (!skl_ports) {
		t->sport = 0;
		t->dport = 0;
	}
}

/* A softirq may interrupt on this CPU: the atomics keep the numbers exact, and stay in this CPU's cache. */
static __always_inline void count(struct skl_traffic *v, __u64 bytes)
{
	__sync_fetch_and_add(&v->bytes, bytes);
	__sync_fetch_and_add(&v->packets, 1);
	v->last = bpf_ktime_get_ns();
}

static __noinline int count_rest(struct skl_flow_key *flow, __u64 bytes)
{
	struct skl_rest_key key = {};
	struct skl_traffic zero = {}, *v;

	if (!flow)
		return 0;
	key.owner = flow->owner;
	key.transmit = flow->transmit;
	v = bpf_map_lookup_elem(&skl_rest, &key);
	if (!v) {
		bpf_map_update_elem(&skl_rest, &key, &zero, BPF_NOEXIST);
		v = bpf_map_lookup_elem(&skl_rest, &key);
	}
	if (v)
		count(v, bytes);
	else
		skl_count_full(SKL_FULL_COUNT);
	return 0;
}

static __always_inline void count_flow(struct skl_flow_key *key, __u64 bytes)
{
	struct skl_traffic *v = bpf_map_lookup_elem(&skl_flows, key);
	struct skl_traffic zero = {};

	if (!v) {
		bpf_map_update_elem(&skl_flows, key, &zero, BPF_NOEXIST);
		v = bpf_map_lookup_elem(&skl_flows, key);
	}
	if (v)
		count(v, bytes);
	else
		count_rest(key, bytes);
}

SEC("tp_btf/net_dev_start_xmit")
int BPF_PROG(skl_transmit, const struct sk_buff *skb, const struct net_device *dev)
{
	struct skl_flow_key key = { .transmit = 1 };

	if (!counted(dev, &key.owner))
		return 0;
	tuple_of(&key.tuple, skb->protocol, skb->head + skb->network_header);
	count_flow(&key, skb->len);
	return 0;
}

/* The link header is already taken off; interfaces without one have none to add. */
SEC("tp_btf/netif_receive_skb")
int BPF_PROG(skl_receive, struct sk_buff *skb)
{
	struct skl_flow_key key = {};
	__u64 data, mac;

	if (!counted(skb->dev, &key.owner))
		return 0;
	data = (__u64)skb->data;
	mac = (__u64)skb->head + skb->mac_header;
	tuple_of(&key.tuple, skb->protocol, (const void *)data);
	count_flow(&key, skb->len + (skb->mac_header != 0xffff && mac < data ? data - mac : 0));
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
