/* The same work as bench/ring.ts does in TypeScript, by libbpf's own ring buffer consumer: read the head and three words of each record. */
#include <bpf/libbpf.h>
#include <stdint.h>

static uint64_t sums[4];

static int take(void *ctx, void *data, size_t length)
{
	const uint32_t *w = data;

	sums[0] += *(const uint64_t *)data;
	sums[1] += w[2] + w[3];
	sums[2] += w[6];
	sums[3] += w[10] ^ w[11];
	return 0;
}

void *consumer_open(int fd)
{
	return ring_buffer__new(fd, take, NULL, NULL);
}

int consumer_read(void *ring)
{
	return ring_buffer__consume(ring);
}

void consumer_close(void *ring)
{
	ring_buffer__free(ring);
}

uint64_t consumer_sum(void)
{
	return sums[0] + sums[1] + sums[2] + sums[3];
}
