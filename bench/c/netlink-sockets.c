/* Opens TCP connections over loopback and keeps them until standard input ends: `netlink-sockets PAIRS`, run inside a namespace. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv) {
	int pairs = argc > 1 ? atoi(argv[1]) : 1000;
	struct rlimit limit = {2 * (rlim_t)pairs + 100, 2 * (rlim_t)pairs + 100};
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0) perror("setrlimit");
	int server = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(4711)};
	if (bind(server, (void *)&any, sizeof(any)) < 0 || listen(server, 4096) < 0) return perror("listen"), 1;
	for (int i = 0; i < pairs; i++) {
		/* 20 000 connections to each address: there are 28 000 ports to connect from. */
		struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(4711)};
		to.sin_addr.s_addr = htonl(0x7f000001 + i / 20000);
		int client = socket(AF_INET, SOCK_STREAM, 0);
		if (client < 0 || connect(client, (void *)&to, sizeof(to)) < 0) return perror("connect"), 1;
		int accepted = accept(server, NULL, NULL);
		if (accepted < 0 || write(client, "x", 1) != 1) return perror("accept"), 1;
	}
	puts("ready");
	fflush(stdout);
	while (getchar() != EOF);
	return 0;
}
