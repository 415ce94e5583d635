/*
 * Makes what bench/collect.ts measures on, and keeps it until its standard input ends:
 *   collect-world namespaces N   N processes, each in a network namespace of its own with lo up
 *   collect-world sockets N      one process in a network namespace of its own with N TCP connections to itself (2N sockets)
 * Prints the pids, one a line, then "ready".
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

static void loopback_up(void)
{
	struct ifreq r;
	int s = socket(AF_INET, SOCK_DGRAM, 0);

	memset(&r, 0, sizeof(r));
	strcpy(r.ifr_name, "lo");
	r.ifr_flags = IFF_UP;
	if (s < 0 || ioctl(s, SIOCSIFFLAGS, &r) < 0)
		err(1, "lo up");
	close(s);
}

static void connections(int n)
{
	struct rlimit lim = { .rlim_cur = 2 * n + 64, .rlim_max = 2 * n + 64 };
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(8080) };
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	setrlimit(RLIMIT_NOFILE, &lim);
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(listener, (void *)&a, sizeof(a)) < 0 || listen(listener, 128) < 0)
		err(1, "listen");
	for (int i = 0; i < n; i++) {
		int c = socket(AF_INET, SOCK_STREAM, 0);

		if (c < 0 || connect(c, (void *)&a, sizeof(a)) < 0 || accept(listener, NULL, NULL) < 0)
			err(1, "connection %d", i);
	}
}

static void stay(int to_parent, int sockets)
{
	char byte = 1;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (unshare(CLONE_NEWNET) < 0)
		err(1, "unshare");
	loopback_up();
	if (sockets)
		connections(sockets);
	if (write(to_parent, &byte, 1) != 1)
		exit(1);
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	int n = argc == 3 ? atoi(argv[2]) : 0;
	int sockets = argc == 3 && !strcmp(argv[1], "sockets");
	int children = sockets ? 1 : n;
	int ready[2];
	char byte;

	if (n <= 0 || pipe(ready) < 0)
		errx(2, "usage: collect-world namespaces|sockets N");
	for (int i = 0; i < children; i++) {
		pid_t pid = fork();

		if (pid < 0)
			err(1, "fork");
		if (pid == 0)
			stay(ready[1], sockets ? n : 0);
		printf("%d\n", pid);
		if (read(ready[0], &byte, 1) != 1)
			err(1, "child");
	}
	puts("ready");
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		;
	/* The children end with this process. */
	return 0;
}
