/* SPDX-License-Identifier: GPL-2.0 */
/* What a socket says of itself beyond addresses and owner. */
#ifndef SKL_SOCK_H
#define SKL_SOCK_H

#include "kernel.h"
#include <bpf/bpf_core_read.h>

/* Inode of the socket's file, by which user space finds the process in /proc/PID/fd; 0 = not accepted yet, or closed. */
static __always_inline __u64 skl_inode_of_sock(const struct sock *sk)
{
	struct socket *socket = BPF_CORE_READ(sk, sk_socket);

	return socket ? BPF_CORE_READ(socket, file, f_inode, i_ino) : 0;
}

#endif
