// SPDX-License-Identifier: GPL-2.0
/*
 * selftest: no probe. Programs that tests and benches run by hand (BPF_PROG_TYPE_SYSCALL, since v5.14) to fill rings and maps through
 * the same headers that the probes use: sequence numbers, rate limits, accounts, histograms; and to receive packets that nobody sent.
 */
#include "selftest.event.h"
#include "skl/count.h"
#include "skl/hist.h"
#include <bpf/bpf_tracing.h>

SKL_EVENT(selftest_generate);
SKL_EVENT(selftest_emit);
SKL_EVENT(selftest_observe);
SKL_EVENT(selftest_event);

struct skl_self_key {
	struct skl_owner owner;
};

SKL_COUNTER_MAP(skl_self_count, skl_self_key, 4096);
SKL_HIST_MAP(skl_self_hist, skl_self_key, 64);

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} skl_gen_ring SEC(".maps");

/* Every 8-byte word of a record follows from its sequence number: nothing can be torn, lost or old without being seen. */
#define WORD(seq, i) (((seq) ^ 0x9E3779B97F4A7C15ULL) + (i))
#define EMIT(size_)                                                                       \
	static __noinline int emit_##size_(__u64 seq, __u64 flags)                        \
	{                                                                                 \
		__u64 *r = bpf_ringbuf_reserve(&skl_gen_ring, size_, 0);                  \
		if (!r)                                                                   \
			return 1;                                                         \
		r[0] = seq;                                                               \
		_Pragma("clang loop unroll(full)") for (int i = 1; i < (size_) / 8; i++)  \
			r[i] = WORD(seq, i);                                              \
		bpf_ringbuf_submit(r, flags);                                             \
		return 0;                                                                 \
	}
EMIT(64)
EMIT(72)
EMIT(128)
EMIT(256)

static __noinline int emit_discard(__u64 flags)
{
	__u64 *r = bpf_ringbuf_reserve(&skl_gen_ring, 96, 0);

	if (!r)
		return 1;
	r[0] = ~0ULL;
	bpf_ringbuf_discard(r, flags);
	return 0;
}

struct generate {
	__u64 seq;
	__u32 size;
	__u32 flags;
	__u32 done;
};

static long generate_one(__u32 index, struct generate *g)
{
	int full;

	if (g->size == 64) {
		full = emit_64(g->seq, g->flags);
	} else if (g->size == 128) {
		full = emit_128(g->seq, g->flags);
	} else if (g->size == 256) {
		full = emit_256(g->seq, g->flags);
	} else {
		__u32 k = (__u32)(g->seq * 2654435761u) >> 30;

		if (k == 1)
			emit_discard(g->flags);
		full = k == 0 ? emit_64(g->seq, g->flags) :
		       k == 1 ? emit_72(g->seq, g->flags) :
		       k == 2 ? emit_128(g->seq, g->flags) :
				emit_256(g->seq, g->flags);
	}
	if (full)
		return 1;
	g->seq++;
	g->done++;
	return 0;
}

SEC("syscall")
int skl_generate(struct selftest_generate *a)
{
	struct generate g = { .seq = a->seq, .size = a->size, .flags = a->flags };

	bpf_loop(a->want, generate_one, &g, 0);
	a->seq = g.seq;
	a->done = g.done;
	return 0;
}

struct emit {
	__u64 cookie;
	__u32 netns;
	__u32 owners;
	__u32 type;
};

static long emit_one(__u32 index, struct emit *c)
{
	__u32 k = c->owners ? index % c->owners : 0;
	struct skl_self_key key = {};
	struct selftest_event *e;

	key.owner.cookie = c->cookie + k;
	key.owner.netns = c->netns + k;
	skl_add(&skl_self_count, &key, 1);
	e = skl_reserve(&key.owner, 0, c->type, sizeof(*e));
	if (!e)
		return 0;
	e->seq = index;
	bpf_ringbuf_submit(e, 0);
	return 0;
}

SEC("syscall")
int skl_emit(struct selftest_emit *a)
{
	struct emit c = { .cookie = a->cookie, .netns = a->netns, .owners = a->owners, .type = a->type };

	bpf_loop(a->want, emit_one, &c, 0);
	return 0;
}

SEC("syscall")
int skl_measure(struct selftest_observe *a)
{
	struct skl_self_key key = {};

	key.owner.cookie = a->cookie;
	key.owner.netns = a->netns;
	skl_observe(&skl_self_hist, &key, a->ns);
	a->bucket = a->ns ? skl_hist_bucket(a->ns) : ~0U;
	return 0;
}

static __always_inline void fault(void)
{
	__u64 nothing;

	bpf_probe_read_user(&nothing, sizeof(nothing), (const void *)8);
}

/* A page fault of the kernel, which skl_fault sees. */
SEC("syscall")
int skl_make_fault(void *ctx)
{
	fault();
	return 0;
}

const volatile __u32 skl_self_pid = 0;

/* Makes another one of its own kind while it runs: the kernel leaves that run out and counts it. */
SEC("tp_btf/page_fault_kernel")
int BPF_PROG(skl_fault, unsigned long address)
{
	if (bpf_get_current_pid_tgid() >> 32 == skl_self_pid)
		fault();
	return 0;
}

/* Run with live frames (since v5.18) it makes a flood of received packets out of nothing. */
SEC("xdp")
int skl_pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
