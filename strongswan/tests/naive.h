/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * For property tests: random packets with right checksums, and a naive model of headers and sums.
 */
#ifndef GIPSEC_NAIVE_H_
#define GIPSEC_NAIVE_H_

#include "ip.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state = 0x9e3779b97f4a7c15u;
static unsigned long round_now, failures;

#define CHECK(condition, ...) check((condition), #condition, __LINE__, __VA_ARGS__)

static inline bool check(bool holds, const char *condition, int line, const char *what)
{
	static int seen[4096];

	if (!holds)
	{
		failures++;
		if (!seen[line % 4096]++ && failures < 1000000)
		{
			fprintf(stderr, "line %d, round %lu: %s: not %s\n", line, round_now, what, condition);
		}
	}
	return holds;
}

/** xorshift64* */
static inline uint32_t draw(void)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (uint32_t)((state * 0x2545f4914f6cdd1du) >> 32);
}

static inline size_t below(size_t bound) { return bound ? draw() % bound : 0; }
static inline bool once_in(unsigned times) { return below(times) == 0; }

static inline void fill(uint8_t *at, size_t length)
{
	for (size_t i = 0; i < length; i++)
	{
		at[i] = (uint8_t)draw();
	}
}

static inline uint8_t *copy_of(const uint8_t *bytes, size_t length)
{
	uint8_t *copy = malloc(length ? length : 1);

	if (!copy)
	{
		abort();
	}
	memcpy(copy, bytes, length);
	return copy;
}

/* The naive model: bytes in network order, one at a time. */

static inline uint32_t naive_sum(uint32_t sum, const uint8_t *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
	{
		sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
		while (sum > 0xffff)
		{
			sum = (sum & 0xffff) + (sum >> 16);
		}
	}
	return sum;
}

static inline bool naive_header_is_right(const uint8_t *packet)
{
	return packet[0] >> 4 == 6 || naive_sum(0, packet, (packet[0] & 0xf) * 4u) == 0xffff;
}

static inline uint32_t naive_transport_sum(const uint8_t *packet, size_t length, size_t header, uint8_t protocol)
{
	uint8_t pseudo[40] = {0};
	size_t size = 0;

	if (packet[0] >> 4 == 4)
	{
		memcpy(pseudo, packet + 12, 8);
		pseudo[9] = protocol;
		put16(pseudo + 10, (uint16_t)(length - header));
		size = 12;
	}
	else
	{
		memcpy(pseudo, packet + 8, 32);
		put16(pseudo + 34, (uint16_t)(length - header));
		pseudo[39] = protocol;
		size = 40;
	}
	return naive_sum(naive_sum(0, pseudo, size), packet + header, length - header);
}

static inline void naive_set_checksums(uint8_t *packet, size_t length, size_t header, uint8_t protocol)
{
	uint8_t *at = packet + header + (protocol == IPPROTO_TCP ? 16 : protocol == IPPROTO_UDP ? 6 : 2);
	uint32_t sum;

	if (packet[0] >> 4 == 4)
	{
		put16(packet + 10, 0);
		put16(packet + 10, (uint16_t)~naive_sum(0, packet, (packet[0] & 0xf) * 4u));
	}
	put16(at, 0);
	sum = (uint16_t)~naive_transport_sum(packet, length, header, protocol);
	put16(at, (uint16_t)(!sum && protocol == IPPROTO_UDP ? 0xffff : sum));
}

/** RFC 8200's headers, skipped by the book; 0: the packet is none. */
static inline size_t naive_header(const uint8_t *packet, size_t length, uint8_t *protocol, bool *later, bool *fragment)
{
	*later = *fragment = false;
	if (length < 20 || length > 65535)
	{
		return 0;
	}
	if (packet[0] >> 4 == 4)
	{
		size_t header = (packet[0] & 15u) * 4;

		*protocol = packet[9];
		*later = packet[7] || packet[6] & 0x1f;
		*fragment = *later || packet[6] & 0x20;
		return header >= 20 && header <= length && (packet[2] << 8 | packet[3]) == (int)length ? header : 0;
	}
	if (packet[0] >> 4 != 6 || length < 40 || (packet[4] << 8 | packet[5]) + 40 != (int)length)
	{
		return 0;
	}
	*protocol = packet[6];
	for (size_t at = 40;;)
	{
		uint8_t now = *protocol;

		if (now != 0 && now != 43 && now != 60 && now != 44)
		{
			return at;
		}
		if (length - at < 8 || (now != 44 && length - at < 8u * (packet[at + 1] + 1u)))
		{
			return 0;
		}
		*protocol = packet[at];
		if (now == 44)
		{
			*fragment = true;
			*later = packet[at + 2] || packet[at + 3] & 0xf8;
			at += 8;
			if (*later)
			{
				return at;
			}
		}
		else
		{
			at += 8u * (packet[at + 1] + 1u);
		}
	}
}

/* Packets */

/** Builds a packet with right lengths, and returns where its transport header is. */
static inline size_t build(uint8_t *packet, bool four, uint8_t protocol, size_t transport, size_t payload, bool plain, size_t *length)
{
	size_t header;

	if (four)
	{
		header = plain ? 20 : 20 + 4 * below(11);
		*length = header + transport + payload;
		fill(packet, *length);
		packet[0] = (uint8_t)(0x40 | header / 4);
		put16(packet + 2, (uint16_t)*length);
		put16(packet + 6, once_in(2) ? 0x4000 : 0);
		packet[9] = protocol;
		if (packet[16] >= 224)
		{
			packet[16] = 10;
		}
	}
	else
	{
		uint8_t *next = packet + 6;
		size_t more = plain ? 0 : below(3);

		fill(packet, 40);
		packet[0] = (uint8_t)(0x60 | (packet[0] & 0xf));
		header = 40;
		for (size_t i = 0; i < more; i++)
		{
			static const uint8_t kinds[] = {0, 43, 60};
			size_t size = 8 * (1 + below(3));

			*next = kinds[below(3)];
			fill(packet + header, size);
			packet[header + 1] = (uint8_t)(size / 8 - 1);
			next = packet + header;
			header += size;
		}
		*next = protocol;
		*length = header + transport + payload;
		fill(packet + header, transport + payload);
		put16(packet + 4, (uint16_t)(*length - 40));
	}
	if (protocol == IPPROTO_TCP)
	{
		packet[header + 12] = (uint8_t)((transport / 4) << 4 | (packet[header + 12] & 0xf));
	}
	else if (protocol == IPPROTO_UDP)
	{
		put16(packet + header + 4, (uint16_t)(transport + payload));
	}
	naive_set_checksums(packet, *length, header, protocol);
	return header;
}

#endif
