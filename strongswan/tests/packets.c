/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Property test of ip.c, and of what segment.c cuts: random and damaged packets beside a naive model, with a fixed seed.
 *
 *   cc -std=c11 -D_GNU_SOURCE -O1 -g -fsanitize=address,undefined -I.. packets.c ../ip.c ../segment.c && ./a.out [rounds [seed]]
 *
 * Each packet lies in memory of just its size, so that a sanitizer sees a byte read or written past it.
 */
#include "naive.h"
#include "segment.h"

#define ROUNDS 200000

/** What was tried often enough: a property that is never reached proves nothing. */
static unsigned long parsed, refused, cut, answered;

static void test_sums(void)
{
	uint8_t *bytes;
	size_t length = below(once_in(50) ? 65536 : 200);
	uint16_t stored;

	bytes = malloc(length + 1);
	if (!bytes)
	{
		abort();
	}
	if (once_in(4))
	{
		memset(bytes, 0xff, length);
	}
	else
	{
		fill(bytes, length);
	}
	stored = ip_fold(ip_sum(bytes, length));
	CHECK(get16((uint8_t*)&stored) == naive_sum(0, bytes, length), "sum of bytes");
	free(bytes);
}

/** Damages a packet, now and then such that its length still is said right. */
static size_t damage(uint8_t *packet, size_t length, size_t room)
{
	for (size_t times = below(4); times; times--)
	{
		switch (below(4))
		{
			case 0:
				packet[below(length < 64 ? length : 64)] = (uint8_t)draw();
				break;
			case 1:
				packet[below(length)] ^= (uint8_t)(1 << below(8));
				break;
			case 2:
				length = 1 + below(length);
				break;
			default:
				length = length + 1 < room ? length + 1 : length;
				break;
		}
	}
	if (once_in(2) && length >= 20)
	{
		if (packet[0] >> 4 == 4)
		{
			put16(packet + 2, (uint16_t)length);
		}
		else if (length >= 40)
		{
			put16(packet + 4, (uint16_t)(length - 40));
		}
	}
	return length;
}

/** Whatever a packet and the kernel's description of it are, nothing outside of them is touched. */
static void test_hostile(void)
{
	uint8_t made[3000], *packet, answer[1280], *segment;
	size_t length, header, room, total;
	uint8_t protocol = 0;
	bool later, is_fragment, good, four = once_in(2);
	static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_SCTP, IPPROTO_ESP, 44};
	struct virtio_net_hdr hdr;
	flow_t flow;
	splitter_t splitter;

	if (once_in(4))
	{
		length = 1 + below(200);
		fill(made, length);
		made[0] = (uint8_t)((once_in(2) ? 0x40 : 0x60) | (made[0] & 0xf));
	}
	else
	{
		protocol = protocols[below(sizeof(protocols))];
		build(made, four, protocol, protocol == IPPROTO_TCP ? 20 + 4 * below(11) : 8, below(300), false, &length);
	}
	length = damage(made, length, sizeof(made));
	packet = copy_of(made, length);
	good = ip_parse(packet, length, &flow);
	header = naive_header(packet, length, &protocol, &later, &is_fragment);
	CHECK(good == (header != 0), "one IP packet, or none");
	if (!good || !header)
	{
		refused++;
		free(packet);
		return;
	}
	parsed++;
	CHECK(flow.header == header && flow.protocol == protocol && flow.length == length, "where the transport header is");
	CHECK(flow.later_fragment == later && flow.fragment == is_fragment, "fragments");
	CHECK(!flow.later_fragment || (!flow.src_port && !flow.dst_port), "no ports in later fragments");

	/* An answer is a right packet to the sender, and never an answer to an error. */
	total = ip_too_big(packet, &flow, 576 + (uint32_t)below(2000), answer);
	CHECK(total <= sizeof(answer), "room of an answer");
	if (total)
	{
		flow_t back;
		size_t icmp = flow.version == 4 ? 20 : 40;

		answered++;
		CHECK(ip_parse(answer, total, &back), "an answer is a packet");
		CHECK(naive_header_is_right(answer), "header checksum of an answer");
		CHECK((flow.version == 4 ? naive_sum(0, answer + icmp, total - icmp)
								 : naive_transport_sum(answer, total, icmp, IPPROTO_ICMPV6)) == 0xffff, "checksum of an answer");
		CHECK(!memcmp(&back.dst, &flow.src, sizeof(back.dst)), "an answer goes to the sender");
		CHECK(!memcmp(answer + icmp + 8, packet, total - icmp - 8), "an answer quotes the packet");
		CHECK(!flow.later_fragment, "no answer to a later fragment");
		CHECK(flow.version == 6 || packet[16] < 224, "no answer to what has many receivers");
		CHECK(flow.protocol != (flow.version == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6) || flow.length - flow.header < 2 ||
			  (flow.version == 4 ? packet[header] != 3 && packet[header] != 11 && packet[header] != 12 && packet[header] != 5
								 : packet[header] >= 128), "no answer to an error");
		CHECK(flow.version == 6 || (packet[12] != 0 && packet[12] != 127 && packet[12] < 224),
			  "no answer to what is no sender's address (RFC 1122 section 3.2.2)");
		CHECK(flow.version == 4 || (packet[8] != 0xff && memcmp(packet + 8, (uint8_t[16]){0}, 16)),
			  "no answer to what is no sender's address (RFC 4443 section 2.4 e)");
	}
	fill((uint8_t*)&hdr, sizeof(hdr));
	hdr.flags = once_in(2) ? VIRTIO_NET_HDR_F_NEEDS_CSUM : 0;
	if (!once_in(8))
	{
		static const uint8_t types[] = {VIRTIO_NET_HDR_GSO_NONE, VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_HDR_GSO_TCPV6,
										VIRTIO_NET_HDR_GSO_UDP_L4, VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN};

		hdr.gso_type = types[below(sizeof(types))];
		hdr.gso_size = (uint16_t)(once_in(8) ? draw() : below(200));
		hdr.csum_start = (uint16_t)(once_in(8) ? draw() : below(length + 2));
		hdr.csum_offset = (uint16_t)(once_in(8) ? draw() : below(20));
	}
	if (split_begin(&splitter, &hdr, packet, &flow))
	{
		room = split_largest(&splitter);
		CHECK(room <= 65535, "the largest segment is a packet");
		segment = malloc(room + 1);
		if (!segment)
		{
			abort();
		}
		for (size_t i = 0, size; i <= length && (size = split_next(&splitter, segment, room)); i++)
		{
			CHECK(size <= room, "no segment is longer than the largest");
			CHECK(i < length, "segments end");
		}
		free(segment);
	}
	free(packet);
}

/** The kernel's large packets: what comes out is what a device would have made. */
static void test_split(void)
{
	static uint8_t made[70000];
	bool four = once_in(2), tcp = once_in(2), needs = once_in(2);
	size_t transport = tcp ? 20 + 4 * below(11) : 8, payload = 1 + below(once_in(200) ? 60000 : 3000), length, header, given = 0;
	size_t size = 1 + below(once_in(3) ? payload + 100 : payload / 3 + 20), pieces = 0;
	uint8_t *packet, *segment;
	struct virtio_net_hdr hdr = {0};
	splitter_t splitter;
	flow_t flow;

	if (payload / size > 200)
	{
		size = payload / 100 + 1;
	}
	header = build(made, four, tcp ? IPPROTO_TCP : IPPROTO_UDP, transport, payload, false, &length);
	hdr.gso_type = tcp ? four ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_UDP_L4;
	hdr.gso_size = (uint16_t)size;
	hdr.hdr_len = (uint16_t)(header + transport);
	if (needs)
	{
		uint8_t *at = made + header + (tcp ? 16 : 6);

		hdr.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		hdr.csum_start = (uint16_t)header;
		hdr.csum_offset = tcp ? 16 : 6;
		fill(at, 2);
		if (!get16(at))
		{
			at[0] = 1;
		}
	}
	packet = copy_of(made, length);
	if (!CHECK(ip_parse(packet, length, &flow), "a large packet is a packet") ||
		!CHECK(split_begin(&splitter, &hdr, packet, &flow), "a large packet is cut"))
	{
		free(packet);
		return;
	}
	cut++;
	segment = malloc(split_largest(&splitter));
	for (size_t now; segment && (now = split_next(&splitter, segment, split_largest(&splitter)));)
	{
		size_t here = now - header - transport;
		bool last = given + here == payload;

		CHECK(now > header + transport && here == (last ? payload - given : size), "size of a segment");
		CHECK(!memcmp(segment + header + transport, made + header + transport + given, here), "payload of a segment");
		CHECK(naive_header_is_right(segment), "header checksum of a segment");
		CHECK(naive_transport_sum(segment, now, header, tcp ? IPPROTO_TCP : IPPROTO_UDP) == 0xffff, "checksum of a segment");
		CHECK(get16(segment + (four ? 2 : 4)) == now - (four ? 0 : 40), "length of a segment");
		if (four)
		{
			CHECK(get16(segment + 4) == (uint16_t)(get16(made + 4) + pieces), "identification of a segment");
			CHECK(!memcmp(segment, made, 2) && !memcmp(segment + 6, made + 6, 4) &&
				  !memcmp(segment + 12, made + 12, header - 12), "header of a segment");
		}
		else
		{
			CHECK(!memcmp(segment, made, 4) && !memcmp(segment + 6, made + 6, header - 6), "header of a segment");
		}
		CHECK(!memcmp(segment + header, made + header, 4), "ports of a segment");
		if (tcp)
		{
			uint8_t flags = made[header + 13];

			flags &= (uint8_t)(last ? 0xff : ~(0x01 | 0x08));
			flags &= (uint8_t)(given ? ~0x80 : 0xff);
			CHECK(get32(segment + header + 4) == get32(made + header + 4) + (uint32_t)given, "sequence number of a segment");
			CHECK(segment[header + 13] == flags, "flags of a segment");
			CHECK(!memcmp(segment + header + 8, made + header + 8, 5) && !memcmp(segment + header + 14, made + header + 14, 2) &&
				  !memcmp(segment + header + 18, made + header + 18, transport - 18), "what segments have in common");
		}
		else
		{
			CHECK(get16(segment + header + 4) == 8 + here, "UDP length of a segment");
			CHECK(get16(segment + header + 6), "checksum of a segment is none");
		}
		given += here;
		pieces++;
		if (!CHECK(given <= payload && pieces <= payload, "segments end"))
		{
			break;
		}
	}
	CHECK(given == payload, "all of the payload");
	free(segment);
	free(packet);
}

/** A packet of its own for a device: whole, with the checksum that was left to it. */
static void test_single(void)
{
	uint8_t made[2048], *packet, segment[2048];
	size_t length, header, now;
	uint8_t protocol = once_in(2) ? IPPROTO_TCP : IPPROTO_UDP;
	struct virtio_net_hdr hdr = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_offset = protocol == IPPROTO_TCP ? 16 : 6};
	splitter_t splitter;
	flow_t flow;
	uint32_t sum;

	header = build(made, once_in(2), protocol, protocol == IPPROTO_TCP ? 20 : 8, below(600), false, &length);
	packet = copy_of(made, length);
	hdr.csum_start = (uint16_t)header;
	put16(packet + header + hdr.csum_offset, 0);
	/* The kernel leaves the sum of the pseudo header there, not complemented. */
	sum = naive_transport_sum(packet, length, header, protocol);
	sum = naive_sum(sum, (uint8_t[2]){(uint8_t)(~naive_sum(0, packet + header, length - header) >> 8),
									  (uint8_t)~naive_sum(0, packet + header, length - header)}, 2);
	put16(packet + header + hdr.csum_offset, (uint16_t)sum);
	if (CHECK(ip_parse(packet, length, &flow) && split_begin(&splitter, &hdr, packet, &flow), "a single packet"))
	{
		now = split_next(&splitter, segment, sizeof(segment));
		CHECK(now == length && !memcmp(segment, made, length), "a single packet is as it would be with its checksum");
		CHECK(!split_next(&splitter, segment, sizeof(segment)), "a single packet comes once");
	}
	free(packet);
}

/** DSCP alone changes, and the header stays right. */
static void test_dscp(void)
{
	uint8_t packet[200], before[200], tos = (uint8_t)draw();
	bool four = once_in(2);
	size_t length;
	flow_t was, is;

	build(packet, four, IPPROTO_UDP, 8, 20, false, &length);
	memcpy(before, packet, length);
	ip_parse(packet, length, &was);
	ip_set_dscp(packet, tos);
	CHECK(ip_parse(packet, length, &is), "a packet stays one");
	CHECK(is.tos == ((tos & 0xfc) | (was.tos & 3)), "DSCP is new, ECN is not");
	CHECK(naive_header_is_right(packet), "header checksum after a new DSCP");
	CHECK(four ? !memcmp(packet + 2, before + 2, 8) && !memcmp(packet + 12, before + 12, length - 12)
			   : (packet[1] & 0xf) == (before[1] & 0xf) && !memcmp(packet + 2, before + 2, length - 2), "nothing else is new");
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
		switch (round_now % 6)
		{
			case 0: test_sums(); break;
			case 1: case 2: test_hostile(); break;
			case 3: test_split(); break;
			case 4: test_single(); break;
			default: test_dscp(); break;
		}
	}
	printf("%lu rounds: %lu packets parsed, %lu refused, %lu cut, %lu answers; %lu failures\n", rounds,
		   parsed, refused, cut, answered, failures);
	if (rounds >= ROUNDS && (!parsed || !refused || !cut || !answered))
	{
		fprintf(stderr, "something was never tried\n");
		return 1;
	}
	return failures ? 1 : 0;
}
