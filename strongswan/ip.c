/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ip.h"

#include <netinet/in.h>
#include <string.h>

#define IPV4_HEADER 20
#define IPV6_HEADER 40
/** The smallest MTU of IPv6, which bounds ICMPv6 errors. */
#define IPV6_MIN_MTU 1280
/** An ICMP error quotes this much of an IPv4 packet: all that RFC 1812 allows. */
#define ICMP_MAX 576

#define IP_DF 0x4000
#define IP_MF 0x2000
#define IP_OFFSET 0x1fff

/** Skips IPv6's extension headers. */
static bool skip_extensions(const uint8_t *packet, size_t length, flow_t *flow)
{
	size_t at = IPV6_HEADER;
	uint8_t next = packet[6];

	for (;;)
	{
		switch (next)
		{
			case IPPROTO_HOPOPTS:
			case IPPROTO_ROUTING:
			case IPPROTO_DSTOPTS:
				if (at + 8 > length || at + 8 * (packet[at + 1] + 1u) > length)
				{
					return false;
				}
				next = packet[at];
				at += 8 * (packet[at + 1] + 1u);
				continue;
			case IPPROTO_FRAGMENT:
				if (at + 8 > length)
				{
					return false;
				}
				flow->fragment = true;
				flow->later_fragment = (get16(packet + at + 2) & 0xfff8) != 0;
				next = packet[at];
				at += 8;
				if (flow->later_fragment)
				{
					break;
				}
				continue;
			default:
				break;
		}
		break;
	}
	flow->protocol = next;
	flow->header = (uint16_t)at;
	return true;
}

static void read_ports(const uint8_t *packet, flow_t *flow)
{
	const uint8_t *at = packet + flow->header;
	size_t left = flow->length - flow->header;

	if (flow->later_fragment)
	{
		return;
	}
	switch (flow->protocol)
	{
		case IPPROTO_TCP:
		case IPPROTO_UDP:
		case IPPROTO_UDPLITE:
		case IPPROTO_SCTP:
		case IPPROTO_DCCP:
			if (left >= 4)
			{
				flow->src_port = get16(at);
				flow->dst_port = get16(at + 2);
			}
			break;
		case IPPROTO_ICMP:
		case IPPROTO_ICMPV6:
			if (left >= 2)
			{
				flow->src_port = flow->dst_port = get16(at);
			}
			break;
		default:
			break;
	}
}

bool ip_parse(const uint8_t *packet, size_t length, flow_t *flow)
{
	memset(flow, 0, sizeof(*flow));
	if (length < IPV4_HEADER || length > IP_MAX_PACKET)
	{
		return false;
	}
	flow->version = packet[0] >> 4;
	flow->length = (uint16_t)length;
	flow->tos = ip_tos(packet);
	if (flow->version == 4)
	{
		uint16_t fragment = get16(packet + 6);

		flow->header = (uint16_t)((packet[0] & 0xf) * 4);
		if (flow->header < IPV4_HEADER || flow->header > length || get16(packet + 2) != length)
		{
			return false;
		}
		flow->protocol = packet[9];
		flow->whole = fragment & IP_DF;
		flow->later_fragment = fragment & IP_OFFSET;
		flow->fragment = fragment & (IP_OFFSET | IP_MF);
		memcpy(flow->src.bytes, packet + 12, 4);
		memcpy(flow->dst.bytes, packet + 16, 4);
	}
	else if (flow->version == 6)
	{
		if (length < IPV6_HEADER || get16(packet + 4) + (size_t)IPV6_HEADER != length)
		{
			return false;
		}
		flow->whole = true;
		memcpy(flow->src.bytes, packet + 8, 16);
		memcpy(flow->dst.bytes, packet + 24, 16);
		if (!skip_extensions(packet, length, flow))
		{
			return false;
		}
	}
	else
	{
		return false;
	}
	read_ports(packet, flow);
	return true;
}

uint64_t ip_sum(const uint8_t *bytes, size_t length)
{
	uint64_t sums[4] = {0}, sum;
	uint32_t words[8];
	uint16_t last = 0;

	/* Sums of native words have the same value once folded (RFC 1071), and four of them keep the processor busy. */
	for (; length >= sizeof(words); bytes += sizeof(words), length -= sizeof(words))
	{
		memcpy(words, bytes, sizeof(words));
		for (int i = 0; i < 4; i++)
		{
			sums[i] += (uint64_t)words[i] + words[i + 4];
		}
	}
	sum = sums[0] + sums[1] + sums[2] + sums[3];
	for (; length >= 2; bytes += 2, length -= 2)
	{
		uint16_t word;

		memcpy(&word, bytes, 2);
		sum += word;
	}
	if (length)
	{
		memcpy(&last, bytes, 1);
		sum += last;
	}
	return sum;
}

uint16_t ip_fold(uint64_t sum)
{
	while (sum >> 16)
	{
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return (uint16_t)sum;
}

uint64_t ip_pseudo_sum(const flow_t *flow, size_t length)
{
	size_t size = flow->version == 4 ? 4 : 16;

	return ip_sum(flow->src.bytes, size) + ip_sum(flow->dst.bytes, size) + htons(flow->protocol) + htonl((uint32_t)length);
}

static void store_checksum(uint8_t *at, uint64_t sum)
{
	uint16_t checksum = (uint16_t)~ip_fold(sum);

	memcpy(at, &checksum, sizeof(checksum));
}

void ip_header_checksum(uint8_t *packet)
{
	memset(packet + 10, 0, 2);
	store_checksum(packet + 10, ip_sum(packet, (packet[0] & 0xf) * 4u));
}

/** Where the checksum of a protocol is, in its header; 0: it has none that we know. */
static size_t checksum_offset(const flow_t *flow)
{
	switch (flow->protocol)
	{
		case IPPROTO_TCP:
			return 16;
		case IPPROTO_UDP:
			return 6;
		case IPPROTO_ICMPV6:
			return 2;
		default:
			return 0;
	}
}

void ip_transport_checksum(uint8_t *packet, const flow_t *flow)
{
	size_t offset = checksum_offset(flow), length = flow->length - flow->header;
	uint8_t *at = packet + flow->header;

	if (!offset || flow->fragment || length < offset + 2)
	{
		return;
	}
	if (flow->protocol == IPPROTO_UDP && flow->version == 4 && !get16(at + offset))
	{
		return;
	}
	memset(at + offset, 0, 2);
	store_checksum(at + offset, ip_pseudo_sum(flow, length) + ip_sum(at, length));
	if (flow->protocol == IPPROTO_UDP && !get16(at + offset))
	{
		put16(at + offset, 0xffff);
	}
}

void ip_set_dscp(uint8_t *packet, uint8_t tos)
{
	if (packet[0] >> 4 == 4)
	{
		packet[1] = (uint8_t)((tos & 0xfc) | (packet[1] & 3));
		ip_header_checksum(packet);
	}
	else
	{
		packet[0] = (uint8_t)(0x60 | tos >> 4);
		packet[1] = (uint8_t)((packet[1] & 0x3f) | (tos & 0xc) << 4);
	}
}

/** Whether an address is that of one sender, elsewhere. */
static bool is_one(const flow_t *flow, const address_t *address)
{
	static const uint8_t none[16];
	const uint8_t *bytes = address->bytes;

	if (flow->version == 4)
	{
		return bytes[0] != 0 && bytes[0] != 127 && bytes[0] < 224;
	}
	return bytes[0] != 0xff && memcmp(bytes, none, 15);
}

/** Whether an ICMP error may be sent for a packet: not for errors, not for what has many receivers, or no sender. */
static bool may_answer(const flow_t *flow)
{
	uint8_t type = (uint8_t)(flow->src_port >> 8);

	if (flow->later_fragment || !is_one(flow, &flow->src))
	{
		return false;
	}
	if (flow->version == 4)
	{
		return is_one(flow, &flow->dst) &&
			   !(flow->protocol == IPPROTO_ICMP && type != 8 && type != 0 && type != 13 && type != 14);
	}
	/* Too big is what ICMPv6 tells senders to many, too. */
	return !(flow->protocol == IPPROTO_ICMPV6 && type < 128);
}

size_t ip_too_big(const uint8_t *packet, const flow_t *flow, uint32_t mtu, uint8_t *answer)
{
	size_t header = flow->version == 4 ? IPV4_HEADER : IPV6_HEADER, most, quoted, length;
	uint8_t *icmp = answer + header;

	if (!may_answer(flow))
	{
		return 0;
	}
	most = (flow->version == 4 ? ICMP_MAX : IPV6_MIN_MTU) - header - 8;
	quoted = flow->length < most ? flow->length : most;
	length = header + 8 + quoted;
	memset(answer, 0, header + 8);
	memcpy(icmp + 8, packet, quoted);
	if (flow->version == 4)
	{
		/* It seems to come from the receiver: we have no address on the way. */
		answer[0] = 0x45;
		put16(answer + 2, (uint16_t)length);
		answer[8] = 64;
		answer[9] = IPPROTO_ICMP;
		memcpy(answer + 12, packet + 16, 4);
		memcpy(answer + 16, packet + 12, 4);
		ip_header_checksum(answer);
		icmp[0] = 3;
		icmp[1] = 4;
		put16(icmp + 6, (uint16_t)(mtu < IP_MAX_PACKET ? mtu : IP_MAX_PACKET));
		store_checksum(icmp + 2, ip_sum(icmp, 8 + quoted));
	}
	else
	{
		flow_t back = {.version = 6, .protocol = IPPROTO_ICMPV6, .header = IPV6_HEADER, .length = (uint16_t)length,
					   .src = flow->dst, .dst = flow->src};

		answer[0] = 0x60;
		put16(answer + 4, (uint16_t)(8 + quoted));
		answer[6] = IPPROTO_ICMPV6;
		answer[7] = 64;
		memcpy(answer + 8, packet + 24, 16);
		memcpy(answer + 24, packet + 8, 16);
		icmp[0] = 2;
		put32(icmp + 4, mtu < IPV6_MIN_MTU ? IPV6_MIN_MTU : mtu);
		ip_transport_checksum(answer, &back);
	}
	return length;
}
