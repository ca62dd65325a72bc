/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Property test of what segment.c joins: packets of random connections, in order and out of it, cut again as the kernel
 * would. Arguments: rounds, and a seed.
 */
#include "naive.h"
#include "segment.h"

#define ROUNDS 30000

/** What was tried often enough. */
static unsigned long joined_runs;

/** One header, of which the packets of a connection are made. */
typedef struct stream_t {
	uint8_t header[160];
	size_t network, headers;
	bool four;
} stream_t;

static uint8_t *next_of(stream_t *this, uint32_t *seq, uint16_t *id, size_t size, size_t *length)
{
	uint8_t *packet;

	*length = this->headers + size;
	packet = malloc(*length);
	if (!packet)
	{
		abort();
	}
	memcpy(packet, this->header, this->headers);
	fill(packet + this->headers, size);
	if (this->four)
	{
		put16(packet + 2, (uint16_t)*length);
		put16(packet + 4, (*id)++);
	}
	else
	{
		put16(packet + 4, (uint16_t)(*length - 40));
	}
	put32(packet + this->network + 4, *seq);
	*seq += (uint32_t)size;
	return packet;
}

/** What is joined and cut again by size is what came, byte for byte. */
static void test_join(void)
{
	enum { MOST = 70 };
	stream_t stream = {.four = once_in(2)};
	piece_t pieces[MOST];
	uint8_t *original[MOST];
	joined_t *joined = malloc(sizeof(*joined));
	size_t lengths[MOST], count = 1 + below(once_in(20) ? MOST : 8), size = 1 + below(once_in(40) ? 1500 : 100), at = 0, options;
	uint32_t seq = once_in(8) ? 0xffffff00u + (uint32_t)below(512) : draw();
	uint16_t id = (uint16_t)(once_in(8) ? 0xfffd : draw());

	if (!joined)
	{
		abort();
	}
	options = once_in(2) ? 12 : 4 * below(11);
	stream.network = build(stream.header, stream.four, IPPROTO_TCP, 20 + options, 0, !once_in(30), &stream.headers);
	if (stream.headers > sizeof(stream.header))
	{
		abort();
	}
	stream.header[stream.network + 12] &= 0xf1;
	stream.header[stream.network + 13] = 0x10 | (once_in(8) ? 0x40 : 0);
	for (size_t i = 0; i < count; i++)
	{
		size_t here = once_in(10) ? 1 + below(size * 2) : size;
		bool wrong = false;
		uint8_t *packet = next_of(&stream, &seq, &id, here, &lengths[i]), *tcp = packet + stream.network;

		if (i + 1 == count || once_in(10))
		{
			tcp[13] |= (uint8_t)(once_in(2) ? 0x08 : once_in(3) ? 0x01 : 0);
		}
		/* Now and then something differs that nobody may lose. */
		if (once_in(6))
		{
			switch (below(16))
			{
				case 0: tcp[13] ^= (uint8_t)(1 << below(8)); break;
				case 1: tcp[12] ^= (uint8_t)(1 << below(4)); break;
				case 2: tcp[13] ^= 0x40; break;
				case 3: packet[1] ^= (uint8_t)(1 << below(8)); break;
				case 4: packet[stream.four ? 8 : 7]--; break;
				case 5: tcp[8 + below(4)]++; break;
				case 6: tcp[14 + below(2)]++; break;
				case 7: tcp[below(4)]++; break;
				case 8: seq += (uint32_t)below(3); put32(tcp + 4, get32(tcp + 4) + 1); break;
				case 9: wrong = true; break;
				case 10: packet[stream.four ? 12 + below(8) : 8 + below(32)]++; break;
				case 11: options ? (void)tcp[20 + below(options)]++ : (void)0; break;
				case 12: id = (uint16_t)(id + 1 + below(9)); break;
				case 13: stream.four ? (void)(packet[6] ^= (uint8_t)(0x80 >> below(3))) : (void)0; break;
				case 14: packet[0] ^= (uint8_t)(stream.four ? 0 : 1 << below(4)); break;
				default: put16(tcp + 18, (uint16_t)draw()); break;
			}
		}
		naive_set_checksums(packet, lengths[i], stream.network, IPPROTO_TCP);
		if (wrong)
		{
			packet[lengths[i] - 1] ^= 0x10;
		}
		if (once_in(100) && stream.four)
		{
			packet[10] ^= 1;
		}
		original[i] = copy_of(packet, lengths[i]);
		pieces[i].packet = packet;
		CHECK(ip_parse(packet, lengths[i], &pieces[i].flow), "a packet of a stream");
	}
	while (at < count)
	{
		size_t taken = join(pieces + at, count - at, joined), total = 0;
		uint8_t *whole;
		splitter_t splitter;
		flow_t flow;

		if (!CHECK(taken >= 1 && taken <= count - at && taken <= JOIN_MAX && joined->count >= 2 &&
				   joined->count <= JOIN_MAX + 1, "how many were joined"))
		{
			break;
		}
		CHECK(joined->iov[0].iov_base == &joined->hdr && joined->iov[0].iov_len == sizeof(joined->hdr), "the header first");
		for (int i = 1; i < joined->count; i++)
		{
			total += joined->iov[i].iov_len;
		}
		whole = malloc(total);
		if (!whole)
		{
			abort();
		}
		total = 0;
		for (int i = 1; i < joined->count; i++)
		{
			memcpy(whole + total, joined->iov[i].iov_base, joined->iov[i].iov_len);
			total += joined->iov[i].iov_len;
		}
		if (taken == 1)
		{
			CHECK(total == lengths[at] && !memcmp(whole, original[at], total), "a packet that stays alone is as it was");
			CHECK(!joined->hdr.flags && joined->hdr.gso_type == VIRTIO_NET_HDR_GSO_NONE, "its checksum is not called right");
		}
		else if (CHECK(ip_parse(whole, total, &flow), "joined packets are a packet") &&
				 CHECK(split_begin(&splitter, &joined->hdr, whole, &flow), "joined packets can be cut"))
		{
			joined_runs++;
			CHECK(joined->hdr.csum_start == stream.network && joined->hdr.csum_offset == 16 &&
				  joined->hdr.hdr_len == stream.headers, "description of joined packets");
			CHECK(naive_header_is_right(whole), "header checksum of joined packets");
			for (size_t i = 0; i < taken; i++)
			{
				uint8_t segment[4096];
				const uint8_t *was = original[at + i];
				size_t now = split_next(&splitter, segment, sizeof(segment)), tcp = stream.network;

				CHECK(naive_header_is_right(was), "a header that was damaged is not made right");
				CHECK(naive_transport_sum(was, lengths[at + i], tcp, IPPROTO_TCP) == 0xffff,
					  "what was damaged is not made right");
				if (!CHECK(now == lengths[at + i], "joined and cut: length"))
				{
					break;
				}
				CHECK(segment[tcp + 13] == was[tcp + 13], "joined and cut: flags, ECE among them");
				CHECK(segment[tcp + 12] == was[tcp + 12], "joined and cut: reserved flags, AE among them");
				CHECK(!memcmp(segment + tcp, was + tcp, 12) && !memcmp(segment + tcp + 14, was + tcp + 14, 2) &&
					  !memcmp(segment + tcp + 20, was + tcp + 20, now - tcp - 20), "joined and cut: TCP");
				if (stream.four)
				{
					CHECK(segment[1] == was[1] && segment[6] == was[6] && segment[7] == was[7] && segment[8] == was[8] &&
						  !memcmp(segment + 12, was + 12, tcp - 12), "joined and cut: IPv4 header");
					CHECK(was[6] & 0x40 || get16(segment + 4) == get16(was + 4), "joined and cut: identification without DF");
				}
				else
				{
					CHECK(!memcmp(segment, was, 40), "joined and cut: IPv6 header");
				}
			}
			{
				uint8_t segment[4096];

				CHECK(!split_next(&splitter, segment, sizeof(segment)), "joined and cut: as many");
			}
		}
		free(whole);
		at += taken;
	}
	for (size_t i = 0; i < count; i++)
	{
		free(pieces[i].packet);
		free(original[i]);
	}
	free(joined);
}

int main(int argc, char *argv[])
{
	unsigned long rounds = argc > 1 ? strtoul(argv[1], NULL, 0) : ROUNDS;

	if (argc > 2)
	{
		state ^= strtoull(argv[2], NULL, 0) * 0x9e3779b97f4a7c15u + 1;
	}
	for (round_now = 0; round_now < rounds; round_now++)
	{
		test_join();
	}
	printf("%lu rounds: %lu runs joined; %lu failures\n", rounds, joined_runs, failures);
	return failures || (rounds >= ROUNDS && !joined_runs);
}
