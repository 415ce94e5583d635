/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Types that cross into user space. The names survive into BTF, where tools/gen-layout.ts gives each its meaning: a
 * typedef of this file is the only declaration of what a number is.
 */
#ifndef SKL_TYPES_H
#define SKL_TYPES_H

#include "kernel.h"

typedef __u64 skl_ktime_ns; /* CLOCK_MONOTONIC, as bpf_ktime_get_ns() gives it */
typedef __u64 skl_kaddr; /* an address in the kernel's text */
typedef __u64 skl_cgroup; /* cgroup v2 id; 0 = not known */
typedef __u64 skl_cookie; /* net->net_cookie: never used twice while the machine is up; 0 = kernel before 5.12 */
typedef __u32 skl_netns; /* inode of the network namespace; used again by the kernel once it ends */
typedef char skl_comm[16]; /* task->comm */
typedef char skl_ifname[16]; /* net_device->name */

/* Both ends of a packet or connection, as seen on the wire: a v4-mapped IPv6 socket speaks family 4. */
struct skl_tuple {
	__u8 saddr[16]; /* family 4: the first four bytes */
	__u8 daddr[16];
	__u16 sport; /* host byte order */
	__u16 dport;
	__u8 family; /* 4, 6, 0 = none known */
	__u8 proto; /* IPPROTO_* */
	__u8 _pad[2];
};

/* Whose data it is: the first bytes of every map key. */
struct skl_owner {
	skl_cookie cookie;
	skl_netns netns;
	__u32 _pad;
};

/* The first bytes of every record. */
struct skl_head {
	skl_ktime_ns ktime;
	skl_cookie cookie;
	skl_cgroup cgroup;
	skl_netns netns;
	__u16 probe; /* skl_probe of the object: which decoder */
	__u16 type; /* the probe's own event types, from 0 */
};

/* Keeps a struct that only travels through the ring in the object's BTF. */
#define SKL_EVENT(t) const struct t *const skl_event__##t __attribute__((used)) = NULL

#endif
